"""A page for people, and the bridge by which it calls a bank: gRPC-Web in, gRPC out. A process of its own."""

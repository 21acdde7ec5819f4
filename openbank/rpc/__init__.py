"""The gRPC edge: requests to commands and questions, answers to messages, errors to statuses."""

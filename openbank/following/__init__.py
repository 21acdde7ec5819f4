"""Following the log: its tail with recent events, and the lease by which one instance of several does the work."""

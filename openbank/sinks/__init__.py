"""Integration events on their way to other systems: the log is the outbox, and each sink has a place in it."""

"""What callers can make happen: one plain function per use case."""

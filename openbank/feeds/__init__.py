"""The events themselves, as they happen: one subscription to the log, any number of watches."""

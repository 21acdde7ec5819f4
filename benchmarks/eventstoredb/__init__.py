"""The bank on EventStoreDB, as the tests' stand-in of it: processor time of the bank, and counts of calls."""

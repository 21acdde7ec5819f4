"""The log of the bank: the port and its guarantees, the stored form of events, and the adapters."""

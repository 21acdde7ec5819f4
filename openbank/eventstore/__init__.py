"""The log of the bank: the port and its guarantees, streams and tokens, and the adapters."""

"""The stored form of events: their types, payloads and canonical JSON."""

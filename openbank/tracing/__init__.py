"""Traces: spans of the calls whose callers are traced, sent to a collector over OTLP."""

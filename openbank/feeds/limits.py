"""The limits of feeds, each with its unit. Those that are settings have their defaults there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    heartbeat_seconds: float
    """A watch that has sent nothing for this long sends a heartbeat: proxies cut streams that seem idle."""
    silence_seconds_max: float
    """A watch is ended after its client has taken no message for this long. Lag alone never ends a watch."""
    drain_seconds: float
    """How long a watch waits for a client that takes nothing, when the server stops."""
    watches_max: int
    """The most watches at one time in this process."""
    message_events_max: int = 500
    """Events in one message, and in one read of the log. One append may be more: it is never split."""
    message_bytes_max: int = 2 << 20
    """The most bytes of events in one message. Clients accept 4 MiB by default."""
    history_bytes_max: int = 8 << 20
    """Pages of history kept in memory for the watches that read it at about the same time."""
    sends_at_once: int = 16
    """The most messages on their way to gRPC at one time. Other watches wait for their turn, and events for them travel
    together. So a call waits for no more messages than these, however many watches there are."""

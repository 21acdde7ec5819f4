"""The limits of feeds: each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    heartbeat_seconds: float = 15.0
    """A watch that has had nothing to say for so long sends a heartbeat: proxies cut streams that seem idle."""
    silence_seconds_max: float = 300.0
    """A watch whose client has not taken a message for so long is ended. Lag alone ends none."""
    drain_seconds: float = 5.0
    """How long a watch waits for a client that takes nothing, when the server stops."""
    watches_max: int = 10_000
    """Watches at one time in this process."""
    message_events_max: int = 500
    """Events in one message, and in one read of the log. One append may be more: it is never split."""
    message_bytes_max: int = 2 << 20
    """Bytes of events in one message. Clients take 4 MiB unless told otherwise."""
    history_bytes_max: int = 16 << 20
    """Pages of history kept in memory for the watches that read it at about the same time."""
    sends_at_once: int = 16
    """Messages on their way to gRPC at one time: the others wait for their turn, and events for them travel together.
    A call waits for no more than these, however many watches there are."""

"""The log as a follower reads it: the projector, and the senders of sinks."""

from __future__ import annotations

from typing import Protocol

from openbank.eventstore.port import LogPosition, LogSlice


class Log(Protocol):
    """Implemented by `following.tail.LogReader`."""

    async def read(self, after: LogPosition, limit: int) -> LogSlice:
        """Up to about `limit` checked events after a position. Raises StoreUnavailable, StoreDamaged."""
        ...

    async def wait(self, after: int) -> None:
        """Waits until the log may hold an event after the position `after`."""
        ...

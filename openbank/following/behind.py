"""How far a follower is behind the log."""

from __future__ import annotations

from typing import NamedTuple

from openbank.codec.events import is_ours
from openbank.eventstore.port import EventStore, LogPosition
from openbank.following.tail import LogTail

COUNTED_MAX = 1_000
"""The most events counted: the log may be long."""


class Behind(NamedTuple):
    """`events` of the bank follow a place in the log, counted up to COUNTED_MAX. The first was recorded at `since`, in
    microseconds since 1970 UTC; None if there is none."""

    events: int
    since: int | None


LEVEL = Behind(0, None)


async def behind(tail: LogTail, store: EventStore, at: LogPosition) -> Behind:
    """How far `at` is behind the log as it has been followed. Raises StoreUnavailable."""
    if at.position >= tail.head.position:
        return LEVEL
    recent = tail.recent(at, COUNTED_MAX)
    events = [entry.event for entry in recent[0]] if recent else (await store.read_log(at, COUNTED_MAX)).events
    ours = [event.metadata.record_time for event in events if is_ours(event.type)]
    return Behind(min(len(ours), COUNTED_MAX), ours[0]) if ours else LEVEL

"""A cache of what was recently read of streams or appended.

Events never change, and are soon needed again: a replay reads the events around its own, first to verify it, then to
show the aggregate as it was. Followers of the log check each event against the one before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from openbank.eventstore.port import RecordedEvent, Snapshot

EVENTS_MAX = 5_000
"""Events take about 1 KB each."""


class _Seen(NamedTuple):
    """Consecutive events of a stream, and the newest snapshot up to the last of them; None if that was not read."""

    events: Sequence[RecordedEvent]
    snapshot: Snapshot | None


class Recent:
    def __init__(self) -> None:
        self._streams: OrderedDict[str, _Seen] = OrderedDict()
        self._events = 0

    def note(self, events: Sequence[RecordedEvent], snapshot: Snapshot | None = None) -> None:
        """At least one event of a stream, in order."""
        stream = events[0].stream
        old = self._streams.pop(stream, None)
        self._streams[stream] = _Seen(events, snapshot)
        self._events += len(events) - (len(old.events) if old else 0)
        while self._events > EVENTS_MAX:
            _, forgotten = self._streams.popitem(last=False)
            self._events -= len(forgotten.events)

    def events(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent] | None:
        """The `limit` events after a revision; None if not all of them are cached."""
        seen = self._streams.get(stream)
        if seen is None:
            return None
        start = after + 1 - seen.events[0].revision
        return seen.events[start : start + limit] if 0 <= start <= len(seen.events) - limit else None

    def snapshot(self, stream: str, through: int) -> Snapshot | None:
        """The newest snapshot up to a revision; None if it is not cached."""
        seen = self._streams.get(stream)
        return seen.snapshot if seen is not None and seen.events[-1].revision == through else None

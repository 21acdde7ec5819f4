"""A cache of what was recently read of streams or appended.

Events never change, and are soon needed again: a replay reads the events up to its own, first to verify it, then to
show the aggregate as it was. Followers of the log check each event against the one before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from openbank.eventstore.port import Newest, RecordedEvent, Snapshot

EVENTS_MAX = 5_000
"""Events take about 2 KB each."""


class Recent:
    def __init__(self) -> None:
        self._streams: OrderedDict[str, Newest] = OrderedDict()
        self._events = 0

    def note(self, events: Sequence[RecordedEvent], snapshot: Snapshot | None = None) -> None:
        """At least one event of a stream, in order."""
        stream = events[0].stream
        old = self._streams.pop(stream, None)
        self._streams[stream] = Newest(events, snapshot)
        self._events += len(events) - (len(old.events) if old else 0)
        while self._events > EVENTS_MAX:
            _, forgotten = self._streams.popitem(last=False)
            self._events -= len(forgotten.events)

    def note_appended(self, event: RecordedEvent) -> None:
        """The last event of an append."""
        seen = self._streams.get(event.stream)
        before = seen.events[-1:] if seen and seen.events[-1].revision == event.revision - 1 else ()
        self.note((*before, event))

    def events(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent] | None:
        """The `limit` events after a revision; None if not all of them are cached."""
        seen = self._streams.get(stream)
        if seen is None:
            return None
        start = after + 1 - seen.events[0].revision
        return seen.events[start : start + limit] if 0 <= start <= len(seen.events) - limit else None

    def newest(self, stream: str, through: int) -> Newest | None:
        """See `read_newest` of the port. None if an aggregate can't be folded up to `through` from what is cached."""
        seen = self._streams.get(stream)
        if seen is None:
            return None
        events, snapshot = seen
        first = events[0].revision
        if not first <= through <= events[-1].revision:
            return None
        if first > 1 and not (snapshot and first <= snapshot.revision <= through):
            return None
        return Newest(events[: through + 1 - first], snapshot)

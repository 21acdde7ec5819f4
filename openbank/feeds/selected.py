"""The history of some accounts or persons, read from their own streams, at a cost that does not grow with the log.

Streams are merged in the order of the log, up to a place that the log had reached before they were read. Up to there
each stream is complete; what is appended meanwhile comes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from openbank.eventstore.port import BEGINNING, NO_STREAM, EventStore, LogPosition, RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON, account_stream, person_stream
from openbank.feeds.filter import Filter
from openbank.feeds.pages import Page
from openbank.following.entry import place_after
from openbank.following.tail import LogReader

STREAMS_MAX = 100
"""The most streams that are merged. For more, the log is read."""
EVENTS = 500
"""Read together, of all streams..."""
EVENTS_EACH_MIN = 16
"""...but of each at least as many."""
READS_AT_ONCE = 8


class Owners(Protocol):
    @property
    def place(self) -> LogPosition:
        """How far the log is known to the views: later answers are complete up to there."""
        ...

    async def accounts_of(self, owner_id: str, limit: int) -> Sequence[str] | None:
        """The ids of the first `limit` accounts of an owner; None while that is unknown."""
        ...


class Streams(NamedTuple):
    """All streams that have events for a filter in the log up to `through`."""

    names: Sequence[str]
    through: LogPosition


async def streams_of(filter: Filter, head: LogPosition, owners: Owners) -> Streams | None:
    """None if there are too many, or they are not known."""
    if filter.accounts:
        names = [account_stream(one) for one in filter.accounts] if ACCOUNT in filter.categories else []
        return Streams(names, head) if len(names) <= STREAMS_MAX else None
    if not filter.persons or len(filter.persons) > STREAMS_MAX:
        return None
    names = [person_stream(one) for one in filter.persons] if PERSON in filter.categories else []
    if ACCOUNT not in filter.categories:
        return Streams(names, head)
    known = owners.place
    for person in filter.persons:
        accounts = await owners.accounts_of(person, STREAMS_MAX + 1 - len(names))
        if accounts is None or len(names) + len(accounts) > STREAMS_MAX:
            return None
        names += map(account_stream, accounts)
    return Streams(names, min(head, known, key=lambda place: place.position))


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a stream has been read. Its next event is not before `position`; None if none follows."""

    stream: str
    revision: int = NO_STREAM
    position: int | None = 0


class _Read(NamedTuple):
    cursor: _Cursor
    events: Sequence[RecordedEvent]
    more: bool
    """Whether the stream has more than these."""


class Selected:
    """The events of some streams after a place. A page that was not sent completely is read again."""

    def __init__(self, store: EventStore, reader: LogReader, streams: Streams, after: LogPosition) -> None:
        self.at = after
        """The place up to which the streams have been read."""
        self._store = store
        self._reader = reader
        self._names = streams.names
        self._through = streams.through
        self._cursors: Sequence[_Cursor] | None = None

    def continues(self, at: LogPosition) -> bool:
        """Whether the next page is the one after `at`."""
        return at.position == self.at.position < self._through.position

    async def page(self) -> Page:
        """What follows `at`. Raises what reading the store does."""
        if self._cursors is None:
            self._cursors = await self._find_all()
        cursors: Sequence[_Cursor] = self._cursors
        events: Sequence[RecordedEvent] = ()
        while not events and _live(cursors):
            events, cursors = await self._merge(cursors)
        entries = await self._reader.judge(events)
        through = place_after(entries, self.at) if _live(cursors) else self._through
        page = Page(self.at.position, entries, through)
        self._cursors, self.at = cursors, through
        return page

    async def _merge(self, cursors: Sequence[_Cursor]) -> tuple[Sequence[RecordedEvent], Sequence[_Cursor]]:
        """The next events in the order of the log, and where the streams are then."""
        live = _live(cursors)
        count = max(EVENTS_EACH_MIN, EVENTS // len(live))
        bound = self._through.position
        found: list[_Read] = []
        # Reads the stream with the next event first: streams without events before its last one need not be read.
        for start, end in ((0, 1), *((at, at + READS_AT_ONCE) for at in range(1, len(live), READS_AT_ONCE))):
            near = [one for one in live[start:end] if one.position is not None and one.position <= bound]
            read = await asyncio.gather(*(self._read(one, count) for one in near))
            found += read
            bound = min([bound, *(one.events[-1].position for one in read if one.more)])
        moved = {one.cursor.stream: self._moved(one, bound) for one in found}
        events = [event for one in found for event in one.events if event.position <= bound]
        events.sort(key=lambda event: event.position)
        return events, [moved.get(one.stream, one) for one in cursors]

    def _moved(self, read: _Read, bound: int) -> _Cursor:
        passed = [event for event in read.events if event.position <= bound]
        revision = passed[-1].revision if passed else read.cursor.revision
        position: int | None = None
        if len(passed) < len(read.events):
            position = read.events[len(passed)].position
        elif read.more:
            position = passed[-1].position + 1
        if position is not None and position > self._through.position:
            position = None
        return replace(read.cursor, revision=revision, position=position)

    async def _read(self, cursor: _Cursor, count: int) -> _Read:
        """Whole appends only."""
        while True:
            events = await self._store.read_stream(cursor.stream, cursor.revision, count)
            if len(events) < count:
                return _Read(cursor, events, more=False)
            whole = _whole(events)
            if whole:
                return _Read(cursor, events[:whole], more=True)
            count *= 2

    async def _find_all(self) -> Sequence[_Cursor]:
        found: list[_Cursor] = []
        for start in range(0, len(self._names), READS_AT_ONCE):
            found += await asyncio.gather(*map(self._find, self._names[start : start + READS_AT_ONCE]))
        return found

    async def _find(self, stream: str) -> _Cursor:
        """The stream up to `at`."""
        after = self.at.position
        if self.at == BEGINNING:
            return _Cursor(stream)
        end = await self._store.read_end(stream, EVENTS_EACH_MIN)
        if not end or end[-1].position <= after:
            return _Cursor(stream, position=None)
        low, high = end[0].revision - 1, end[-1].revision
        if end[0].position > after:
            low, high = NO_STREAM, end[0].revision
        # The revision `low` is passed, and `high` is not.
        known = {event.revision: event for event in end}
        while high - low > 1:
            middle = (low + high) // 2
            [event] = [known[middle]] if middle in known else await self._store.read_stream(stream, middle - 1, 1)
            low, high = (middle, high) if event.position <= after else (low, middle)
        return _Cursor(stream, low)


def _live(cursors: Iterable[_Cursor]) -> list[_Cursor]:
    """The streams that have more events, sorted by their next event."""
    return sorted((one for one in cursors if one.position is not None), key=lambda one: one.position or 0)


def _whole(events: Sequence[RecordedEvent]) -> int:
    """The number of events without an append that is cut off at the end."""
    count = len(events)
    while count and events[count - 1].metadata.part + 1 < events[count - 1].metadata.parts:
        count -= 1
    return count

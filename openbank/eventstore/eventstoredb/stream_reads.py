"""Reads of streams and of what aggregates are made of, in as few round trips as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from esdbclient.exceptions import NotFound

from openbank.codec import events as codec
from openbank.eventstore.errors import StoreDamaged, StreamDamaged
from openbank.eventstore.eventstoredb.events import Convert, recorded
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.recent import Recent
from openbank.eventstore.eventstoredb.requests import Requests
from openbank.eventstore.eventstoredb.snapshots import Snapshots
from openbank.eventstore.port import BEGINNING, NO_STREAM, SNAPSHOT_EVENTS, LogPosition, Newest, RecordedEvent, Snapshot
from openbank.eventstore.request_index import RequestIndex

NEAR = SNAPSHOT_EVENTS + 1
"""Events that are read for one of them: its aggregate's snapshot is of one of these, or a write is behind."""

Locate = Callable[[str, int], Awaitable[LogPosition | None]]
"""`locate` of the port."""


class StreamReads:
    """The port's methods on streams. A stream that was tombstoned or has lost events raises StreamDamaged."""

    def __init__(self, link: Link, prefix: str, snapshots: Snapshots, request_index: RequestIndex | None) -> None:
        self.requests = Requests(self.read_stream, self._read_near, request_index)
        self.recent = Recent()
        self._link = link
        self._prefix = prefix
        self._snapshots = snapshots

    async def read_stream(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent]:
        if limit > 0 and (events := self.recent.events(stream, after, limit)):
            return events
        events = self._checked(stream, after, await self.read(stream, after, limit))
        if 0 < len(events) < NEAR:
            self.recent.note(events)
        return events

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        events = await self.read(stream, None, limit, backwards=True)
        events.reverse()
        return self._checked(stream, events[0].revision - 1, events) if events else []

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        if through is not None:
            return self.recent.newest(stream, through) or await self._read_through(stream, limit, through)
        reached = await self.requests.reached(stream)
        snapshot = None
        if reached < SNAPSHOT_EVENTS:
            events = await self._read_from(stream, 1, limit) if reached else ()
        else:
            first = max(reached - reached % SNAPSHOT_EVENTS, reached - limit + 1)
            events, snapshot = await asyncio.gather(self._read_from(stream, first, limit), self.snapshot(stream))
        events = events or await self.read_end(stream, limit)
        if events:
            if events[0].revision > 1 and snapshot is None:
                snapshot = await self.snapshot(stream)
            self.recent.note(events, snapshot)
        return Newest(events, snapshot)

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        return await self._snapshots.newest(stream, through)

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        if not stream or revision <= NO_STREAM:
            return None
        try:
            events = await self.read(stream, revision - 1, 1)
        except StoreDamaged:
            return None
        # From a truncated stream the server returns the next event that exists.
        return codec.place_after(events, BEGINNING) if events and events[0].revision == revision else None

    async def read(
        self, stream: str, after: int | None, limit: int, convert: Convert = recorded, *, backwards: bool = False
    ) -> list[RecordedEvent]:
        """The events of one read, also of a stream that has gaps. `after` None is the end."""
        if limit < 1:
            return []
        try:
            events = await self._link.read(
                stream_name=self._prefix + stream, stream_position=after, limit=limit, backwards=backwards
            )
        except NotFound:
            return []
        except StoreDamaged as error:
            raise StreamDamaged(f"{stream} was deleted permanently, by a tombstone") from error
        return [convert(event, len(self._prefix)) for event in events]

    def _checked(self, stream: str, after: int, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        for revision, event in enumerate(events, after + 1):
            if event.revision != revision:
                raise StreamDamaged(f"{stream} has no event with revision {revision} any more", revision)
        self.requests.note(stream, after, [event.metadata.request_id for event in events])
        return events

    async def _read_from(self, stream: str, revision: int, limit: int) -> Sequence[RecordedEvent]:
        """The events of a stream from a revision on; empty if there are more than `limit`."""
        events = await self.read(stream, revision - 1, limit + 1)
        return self._checked(stream, revision - 1, events) if len(events) <= limit else ()

    async def _read_near(self, stream: str, revision: int) -> Sequence[RecordedEvent]:
        """Reads an event together with what shows its aggregate right after it, for the question that comes next."""
        events, _ = await self.read_newest(stream, NEAR, revision)
        return [event for event in events[-1:] if event.revision == revision]

    async def _read_through(self, stream: str, limit: int, through: int) -> Newest:
        before, count = max(NO_STREAM, through - limit), min(through, limit)
        if before == NO_STREAM:
            events, snapshot = await self.read_stream(stream, before, count), None
        else:
            events, snapshot = await asyncio.gather(
                self.read_stream(stream, before, count), self.snapshot(stream, through)
            )
        if events:
            self.recent.note(events, snapshot)
        return Newest(events, snapshot)

"""The log: EventStoreDB's `$all`, read through a filter on the names of the bank's streams.

Positions are commit positions of events in streams of the bank. So is the end of the log: what other programs write
changes no position that callers see, all instances agree where the log ends, and the server can read from every
position. Checkpoints, up to which the log is known to hold nothing of the bank's, are kept apart, to continue from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from openbank.codec import events as codec
from openbank.eventstore.eventstoredb.events import Convert, is_system, missing, recorded, without_payload
from openbank.eventstore.eventstoredb.link import Link, PositionRefused
from openbank.eventstore.eventstoredb.own_events import OwnEvents
from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.eventstoredb.same_log import SameLog, Witness
from openbank.eventstore.eventstoredb.shared import Shared
from openbank.eventstore.eventstoredb.stream_reads import Locate
from openbank.eventstore.eventstoredb.upstream import Upstream
from openbank.eventstore.port import BEGINNING, LogPosition, LogSlice, RecordedEvent
from openbank.eventstore.streams import CATEGORIES

PAGE = 1_000
CHECKPOINT_EVENTS = 32
CHECKPOINT_MULTIPLIER = 8
"""A checkpoint comes after the product of these, counted in events of all programs."""


class _Passed(NamedTuple):
    """The log is known up to `place`, and holds nothing of the bank's after it, up to the position `up_to`."""

    place: LogPosition
    up_to: int


class LogReads:
    """The port's methods on the log. `own` are the events that this process has appended; `locate` is the port's."""

    def __init__(self, link: Link, prefix: str, own: OwnEvents, same_log: SameLog, locate: Locate) -> None:
        self._link = link
        self._prefix = prefix
        self._own = own
        self._same_log = same_log
        self._locate = locate
        self._passed = _Passed(BEGINNING, 0)
        self._head = Shared(self._ask_head)
        self._filter = {"prefixes": [f"{prefix}{category}-" for category in CATEGORIES]}

    async def slice(self, after: LogPosition, limit: int, convert: Convert) -> LogSlice:
        events, caught_up = await self._read_log(after, limit, convert)
        rest = missing(events[-1]) if events else 0
        if rest:
            more = await self.read_all(convert, commit_position=events[-1].position, limit=rest + 1)
            events += more[1:]
        through = codec.place_after(events, after)
        return LogSlice([event for event in events if not is_system(event)], through, caught_up)

    async def head(self) -> LogPosition:
        """Asked once for all callers that ask at about the same time."""
        return await self._head.answer()

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        at = after
        while True:
            events, caught_up = await self._read_log(at, PAGE, without_payload)
            for number, event in enumerate(events):
                if codec.is_ours(event.type) and event.metadata.record_time >= time:
                    return codec.place_after(events[:number], at)
            at = codec.place_after(events, at)
            if caught_up:
                return at

    async def subscribe(self, after: LogPosition) -> AsyncGenerator[LogSlice]:
        start = await self._start(after)
        connection, since = self._link.leader.connection, asyncio.get_running_loop().time()
        subscription = await self._link.subscribe(
            commit_position=start,
            window_size=CHECKPOINT_EVENTS,
            checkpoint_interval_multiplier=CHECKPOINT_MULTIPLIER,
            **self._filter,
        )
        self._link.leader.follows(connection, since)
        upstream = Upstream(self._link, subscription, after, self._recorded, self._note_passed, self._locate)
        try:
            while True:
                page = await upstream.next()
                for event in page.events[-1:]:
                    self._note_seen(event)
                yield page
        finally:
            await upstream.close()

    def close(self) -> None:
        self._head.close()

    async def read_all(self, convert: Convert = recorded, **options: Any) -> list[RecordedEvent]:
        """The events of one read of the log. Raises PositionRefused."""
        events = await self._link.read(**options, **self._filter)
        converted = [convert(event, len(self._prefix)) for event in events]
        for event in converted[-1:] if not options.get("backwards") else converted[:1]:
            self._note_seen(event)
        return converted

    async def _ask_head(self) -> LogPosition:
        place, up_to = self._passed
        if up_to and not await self._follows(up_to):
            return place
        end: LogPosition | None = None
        page = await self.read_all(backwards=True, limit=1)
        while page:
            end = end or LogPosition(page[0].position)
            for event in page:
                if codec.is_ours(event.type):
                    return event.place._replace(position=end.position)
            page = await self.read_all(commit_position=page[-1].position, backwards=True, limit=PAGE)
        return end or BEGINNING

    async def _read_log(self, after: LogPosition, limit: int, convert: Convert) -> tuple[list[RecordedEvent], bool]:
        """The events after a place, and whether there are no more. The first event read may be the place itself."""
        start = self.resume(after)
        while True:
            try:
                page = await self.read_all(convert, commit_position=start, limit=limit + 1)
            except PositionRefused:
                start = await self._last_resort(after, start)
                continue
            caught_up = len(page) <= limit
            events = [event for event in page if event.position > after.position]
            if events or caught_up:
                return events, caught_up
            start = page[-1].position

    async def _start(self, after: LogPosition) -> int | None:
        """A position at or before a place, with nothing new between, that the server accepts; None is the beginning.

        Asked before subscribing: how a subscription handles an unknown position is not documented.
        """
        start = self.resume(after)
        while start is not None:
            try:
                await self.read_all(commit_position=start, limit=1)
                break
            except PositionRefused:
                start = await self._last_resort(after, start)
        return start

    def resume(self, after: LogPosition) -> int | None:
        """Where to continue after a place: at the last checkpoint, if there is nothing of the bank's between."""
        if after.position == self._passed.place.position:
            return max(after.position, self._passed.up_to) or None
        return after.position or None

    async def _last_resort(self, after: LogPosition, refused: int | None) -> int | None:
        """Where to continue if the server refuses a position, as after scavenging: at the place itself, or at its
        event."""
        self._passed = _Passed(BEGINNING, 0)
        if refused != after.position:
            return after.position or None
        named = await self._locate(after.stream, after.revision) if after.stream else None
        return named.position if named is not None and named.position < after.position else None

    async def _follows(self, position: int) -> bool:
        """Whether there is anything of the bank's after a position."""
        try:
            page = await self.read_all(commit_position=position, limit=2)
        except PositionRefused:
            self._passed = _Passed(BEGINNING, 0)
            return True
        return any(event.position > position for event in page)

    def _note_passed(self, place: LogPosition, up_to: int) -> None:
        if up_to > self._passed.up_to:
            self._passed = _Passed(place, up_to)

    def _recorded(self, event: Stored) -> RecordedEvent:
        known = self._own.take(event)
        if known is None:
            return recorded(event, len(self._prefix))
        position, name, number, event_id, kind, *_ = event
        stream = name[len(self._prefix) :]
        return RecordedEvent(position, stream, number + 1, event_id, kind, known.data, known.metadata)

    def _note_seen(self, event: RecordedEvent) -> None:
        if codec.is_ours(event.type):
            self._same_log.note(Witness(event.position, event.stream, event.revision - 1, event.id))

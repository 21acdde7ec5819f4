"""The port's methods on EventStoreDB: streams are its streams, the log is its `$all`, read through a filter.

Positions are commit positions of events in streams of the bank. The log's end, too, is the last of these: what other
programs write moves no position that anybody is given, so all instances agree where the log ends, and every position
is one that the server can read from. How far the log is known to hold nothing of the bank's (the checkpoints) is
kept aside, to go on from.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from esdbclient import NewEvent as Proposed
from esdbclient.exceptions import NotFound

from openbank.codec import events as codec
from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreRefused, StoreUnavailable, StreamDamaged
from openbank.eventstore.eventstoredb.appends import Appends
from openbank.eventstore.eventstoredb.events import as_stored, is_system, missing, recorded, without_payload
from openbank.eventstore.eventstoredb.hidden import hidden_streams
from openbank.eventstore.eventstoredb.identity import Identity, Wanted
from openbank.eventstore.eventstoredb.link import Link, PositionRefused
from openbank.eventstore.eventstoredb.own_events import OwnEvents
from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.eventstoredb.recent import Recent
from openbank.eventstore.eventstoredb.refusals import AccessRefused
from openbank.eventstore.eventstoredb.requests import Requests
from openbank.eventstore.eventstoredb.same_log import SameLog, Witness
from openbank.eventstore.eventstoredb.shared import Shared
from openbank.eventstore.eventstoredb.snapshots import Snapshots
from openbank.eventstore.eventstoredb.upstream import Upstream
from openbank.eventstore.port import (
    BEGINNING,
    NO_STREAM,
    SNAPSHOT_EVENTS,
    KeptRecord,
    LogPosition,
    LogSlice,
    Newest,
    NewEvent,
    RecordedEvent,
    Snapshot,
)
from openbank.eventstore.request_index import RequestIndex
from openbank.eventstore.streams import CATEGORIES, NUMBER

QUARANTINE_STREAM = "openbank-quarantine"
"""Its last event holds the record of what is quarantined. Not part of the log either."""
QUARANTINE_CHANGED = "openbank.QuarantineChanged"
SETTLE_SECONDS = 5.0
"""How long the outcome of an append is asked for, when its answer is lost."""
RETRY_SECONDS = 0.5
"""Between two tries to reach the server at start."""
PAGE = 1_000
AROUND = SNAPSHOT_EVENTS + 1
"""Events that are read for one of them: its aggregate's snapshot is of one of these, or a write is behind."""
CHECKPOINT_EVENTS = 32
CHECKPOINT_MULTIPLIER = 8
"""A checkpoint comes after the product of these, in events of anybody."""

_log = logging.getLogger(__name__)


_Convert = Callable[[Stored, int], RecordedEvent]
"""From an event as esdbclient gives it, and how many characters of its stream's name are not the bank's."""


class _Passed(NamedTuple):
    """The log up to `place` is known, and nothing of the bank's follows it up to the position `up_to`."""

    place: LogPosition
    up_to: int


class EventStoreDBEventStore:
    """`EventStore` on EventStoreDB. Any number of instances may write.

    A stream of the bank that was tombstoned, truncated, or deleted and written again raises StoreDamaged; one that was
    deleted reads as if it had never been. Events of other programs in streams with our prefixes are part of the log as
    they are, under their own types.
    """

    sole_writer = False

    def __init__(self, link: Link, settle_seconds: float, request_index: RequestIndex | None, prefix: str) -> None:
        """See `open`."""
        self.after_loss = (
            f"stop all instances, and bring back all of the log to EventStoreDB at {link.targets};"
            " or continue with what is left of it: openbank accept-loss --event-store ADDRESS"
        )
        self.bank_id = ""
        self.store_id = ""
        self._link = link
        self._prefix = prefix
        self._own = OwnEvents()
        self._recent = Recent()
        self._appends = Appends(link, settle_seconds, self._own)
        self._requests = Requests(self.read_stream, self._read_around, request_index)
        self._snapshots = Snapshots(link, self._appends, prefix)
        self._identity = Identity(link, prefix)
        self._same_log = SameLog(link.read_unchecked, prefix, self._identity.stream)
        link.guard.check = self._same_log.check
        self._passed = _Passed(BEGINNING, 0)
        self._closed = False
        self._head = Shared(self._ask_head)
        self._filter = {"prefixes": [f"{prefix}{category}-" for category in CATEGORIES]}

    @classmethod
    async def open(
        cls,
        uri: str,
        *,
        wait_seconds: float = 0.0,
        bank_id: str | None = None,
        known_bank_id: str | None = None,
        make: bool = True,
        copying: bool = False,
        settle_seconds: float = SETTLE_SECONDS,
        request_index: RequestIndex | None = None,
        prefix: str = "",
    ) -> EventStoreDBEventStore:
        """The store at an address like `esdb://user:password@host1,host2?Tls=true`, made where there is none.

        Tries for `wait_seconds` to reach it. `bank_id` is the bank that it must be of, where that matters; without
        `make` it must be there. `known_bank_id` is a bank that was served before: an empty store has lost it. One that
        is made by `copying` can be opened only so until it is `copied`: nobody is to be served from half a log. All
        streams' names begin with `prefix`, so that a server can hold several banks.
        Raises StoreRefused and StoreUnavailable.
        """
        link = Link(uri)
        store = cls(link, settle_seconds, request_index, prefix)
        try:
            await store._begin(wait_seconds, Wanted(bank_id, known_bank_id, make, copying))
            store.be_patient(wait_seconds)
        except BaseException:
            await link.close()
            raise
        return store

    @property
    def writable(self) -> bool:
        return not self._appends.stuck

    @property
    def confirmed_seconds_ago(self) -> float:
        return asyncio.get_running_loop().time() - self._link.confirmed_at

    def be_patient(self, seconds: float) -> None:
        """Reads are tried again for so long while the store is away: for jobs and starts. 0 ends that."""
        self._link.patience_seconds = seconds

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        if self._closed:
            raise StoreUnavailable("the event store is closed")

        def find() -> Awaitable[Sequence[RecordedEvent]]:
            return self.read_stream(stream, expected_revision, len(events))

        position = await self._appends.append(self._prefix + stream, expected_revision, events, find)
        self._requests.note(stream, expected_revision, [event.metadata.request_id for event in events])
        last, revision = events[-1], expected_revision + len(events)
        self._same_log.note(Witness(position, stream, revision - 1, last.id))
        self._recent.note((RecordedEvent(position, stream, revision, *last),))
        return position

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = PAGE) -> Sequence[RecordedEvent]:
        if limit > 0 and (events := self._recent.events(stream, after, limit)):
            return events
        return self._checked(stream, after, await self._read_stream(stream, after, limit))

    def _checked(self, stream: str, after: int, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        for revision, event in enumerate(events, after + 1):
            if event.revision != revision:
                raise StreamDamaged(f"{stream} has no event with revision {revision} any more", revision)
        self._requests.note(stream, after, [event.metadata.request_id for event in events])
        return events

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        events = await self._read_stream(stream, None, limit, backwards=True)
        events.reverse()
        return self._checked(stream, events[0].revision - 1, events) if events else []

    async def read_newest(self, stream: str, limit: int) -> Newest:
        reached = await self._requests.reached(stream)
        snapshot = None
        if reached < SNAPSHOT_EVENTS:
            events = await self._read_from(stream, 1, limit) if reached else ()
        else:
            first = max(reached - reached % SNAPSHOT_EVENTS, reached - limit + 1)
            events, snapshot = await asyncio.gather(self._read_from(stream, first, limit), self.snapshot(stream))
        events = events or await self.read_end(stream, limit)
        if events:
            self._recent.note(events)
            if events[0].revision > 1 and snapshot is None:
                snapshot = await self.snapshot(stream)
        return Newest(events, snapshot)

    async def _read_from(self, stream: str, revision: int, limit: int) -> Sequence[RecordedEvent]:
        """The events of a stream from a revision on; none of them where they are more than are asked for."""
        events = await self._read_stream(stream, revision - 1, limit + 1)
        return self._checked(stream, revision - 1, events) if len(events) <= limit else ()

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        known = self._recent.snapshot(stream, through) if through else None
        return known or await self._snapshots.newest(stream, through)

    async def _read_around(self, stream: str, revision: int) -> Sequence[RecordedEvent]:
        """An event, and what tells what its aggregate was right after it: read side by side, for who asks next."""
        before, count = max(NO_STREAM, revision - AROUND), min(revision, AROUND)
        if revision <= SNAPSHOT_EVENTS:
            events, snapshot = await self.read_stream(stream, before, count), None
        else:
            events, snapshot = await asyncio.gather(
                self.read_stream(stream, before, count), self.snapshot(stream, revision)
            )
        if len(events) == count:
            self._recent.note(events, snapshot)
        return events[count - 1 :]

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if not self._closed:
            self._snapshots.keep(stream, snapshot)

    async def quarantine(self) -> KeptRecord:
        try:
            name = self._prefix + QUARANTINE_STREAM
            events = await self._link.read(stream_name=name, backwards=True, limit=1)
        except NotFound:
            return KeptRecord()
        return KeptRecord(events[0].data, events[0].stream_position + 1) if events else KeptRecord()

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        # The same record again is the same event, so an append whose answer was lost may be tried again.
        digest = hashlib.blake2b(b"%d\0%b" % (version, data), digest_size=16).digest()
        event = Proposed(QUARANTINE_CHANGED, data, id=UUID(bytes=digest))
        try:
            written = await self._link.write(self._prefix + QUARANTINE_STREAM, event, version - 1 if version else None)
        except StoreUnavailable as error:
            raise OutcomeUnknown(str(error)) from error
        return version + 1 if written else None

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        return await self._requests.find(stream, request_ids, through)

    async def read_log(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        return await self._slice(after, limit, recorded)

    async def read_log_as_stored(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        return await self._slice(after, limit, as_stored)

    async def read_stream_as_stored(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent]:
        return await self._read_stream(stream, after, limit, as_stored)

    async def _slice(self, after: LogPosition, limit: int, convert: _Convert) -> LogSlice:
        events, caught_up = await self._read_log(after, limit, convert)
        rest = missing(events[-1]) if events else 0
        if rest:
            more = await self._read_all(convert, commit_position=events[-1].position, limit=rest + 1)
            events += more[1:]
        through = codec.place_after(events, after)
        return LogSlice([event for event in events if not is_system(event)], through, caught_up)

    async def head(self) -> LogPosition:
        return await self._head.answer()

    async def _ask_head(self) -> LogPosition:
        place, up_to = self._passed
        if up_to and not await self._follows(up_to):
            return place
        end: LogPosition | None = None
        page = await self._read_all(backwards=True, limit=1)
        while page:
            end = end or LogPosition(page[0].position)
            for event in page:
                if codec.is_ours(event.type):
                    return event.place._replace(position=end.position)
            page = await self._read_all(commit_position=page[-1].position, backwards=True, limit=PAGE)
        return end or BEGINNING

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

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        if not stream or revision <= NO_STREAM:
            return None
        try:
            events = await self._read_stream(stream, revision - 1, 1)
        except StoreDamaged:
            return None
        # Where a stream was truncated, the server gives the next event that is there.
        return codec.place_after(events, BEGINNING) if events and events[0].revision == revision else None

    async def hides_events(self, stream: str) -> bool:
        return await self._same_log.hides_events(stream)

    async def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        start = await self._start(after)
        connection, since = self._link.connection, asyncio.get_running_loop().time()
        subscription = await self._link.subscribe(
            commit_position=start,
            window_size=CHECKPOINT_EVENTS,
            checkpoint_interval_multiplier=CHECKPOINT_MULTIPLIER,
            **self._filter,
        )
        self._link.follows(connection, since)
        upstream = Upstream(self._link, subscription, after, self._recorded, self._note_passed, self.locate)
        try:
            while True:
                page = await upstream.next()
                for event in page.events[-1:]:
                    self._note_seen(event)
                yield page
        except StoreUnavailable:
            if not self._closed:
                raise
        finally:
            await upstream.close()

    async def close(self) -> None:
        self._closed = True
        self._head.close()
        await self._snapshots.close()
        await self._appends.close()
        await self._link.close()

    async def accept_loss(self) -> int:
        """Makes of what is left of the log one of its own, with a new store id; the position where it ends.

        Views of the log before start over. Instances that still run on it stop.
        """
        head = await self.head()
        await self._identity.rename()
        return head.position

    async def copied(self) -> None:
        """The copy into this store is whole."""
        await self._identity.note_copied()

    async def hyphenated_number_streams(self) -> Sequence[str]:
        names: dict[str, None] = {}
        async for event in self._link.history(prefixes=[f"{self._prefix}{NUMBER}-"]):
            stream = event.stream_name.removeprefix(self._prefix)
            if "-" in stream.removeprefix(f"{NUMBER}-"):
                names[stream] = None
        return list(names)

    def hidden(self) -> AsyncIterator[str]:
        """A sentence for each stream of which operators have hidden events. Costs time in proportion to the log."""
        return hidden_streams(self._link, self._prefix)

    @property
    def numbers_adopted(self) -> bool:
        return self._identity.numbers_adopted

    async def note_numbers_adopted(self) -> None:
        await self._identity.note_numbers_adopted()

    async def _begin(self, wait_seconds: float, wanted: Wanted) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        said = False
        while True:
            try:
                await self._link.connect()
                return await self._identify(wanted)
            except AccessRefused as error:
                raise StoreRefused(f"EventStoreDB at {self._link.targets}: {error}") from error
            except StoreUnavailable as error:
                if instead := await self._link.wrong_about_tls(str(error)):
                    raise StoreRefused(f"EventStoreDB at {self._link.targets}: {instead}") from error
                if loop.time() + RETRY_SECONDS > until:
                    raise StoreUnavailable(f"EventStoreDB at {self._link.targets}: {error}") from error
                if not said:
                    values = {"address": self._link.targets, "seconds": wait_seconds, "reason": error}
                    _log.warning("waiting for EventStoreDB", extra={"values": values})
                    said = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _identify(self, wanted: Wanted) -> None:
        # Rights first, before anything is written.
        await self._read_all(backwards=True, limit=1)
        if wanted.make:
            await self._appends.check_right(self._identity.stream)
        self.bank_id, self.store_id = await self._identity.claim(wanted)
        self._same_log.identify(self.store_id)

    async def _read_stream(
        self, stream: str, after: int | None, limit: int, convert: _Convert = recorded, *, backwards: bool = False
    ) -> list[RecordedEvent]:
        if limit < 1:
            return []
        try:
            events = await self._link.read(
                stream_name=self._prefix + stream, stream_position=after, limit=limit, backwards=backwards
            )
        except NotFound:
            return []
        except StoreDamaged as error:
            raise StreamDamaged(f"{stream} was deleted for ever, by a tombstone") from error
        return [convert(event, len(self._prefix)) for event in events]

    async def _read_all(self, convert: _Convert = recorded, **options: Any) -> list[RecordedEvent]:
        events = await self._link.read(**options, **self._filter)
        converted = [convert(event, len(self._prefix)) for event in events]
        for event in converted[-1:] if not options.get("backwards") else converted[:1]:
            self._note_seen(event)
        return converted

    async def _read_log(self, after: LogPosition, limit: int, convert: _Convert) -> tuple[list[RecordedEvent], bool]:
        """What follows a place, and whether that is all there is. The first event read may be the place itself."""
        start = self._resume(after)
        while True:
            try:
                page = await self._read_all(convert, commit_position=start, limit=limit + 1)
            except PositionRefused:
                start = await self._last_resort(after, start)
                continue
            caught_up = len(page) <= limit
            events = [event for event in page if event.position > after.position]
            if events or caught_up:
                return events, caught_up
            start = page[-1].position

    async def _start(self, after: LogPosition) -> int | None:
        """A position at or before a place, with nothing new between, that the server takes; None is the beginning.

        Asked before subscribing: what a subscription makes of a position that it does not like is not said anywhere.
        """
        start = self._resume(after)
        while start is not None:
            try:
                await self._read_all(commit_position=start, limit=1)
                break
            except PositionRefused:
                start = await self._last_resort(after, start)
        return start

    def _resume(self, after: LogPosition) -> int | None:
        """Where to go on after a place: from the last checkpoint, if nothing of ours lies between."""
        if after.position == self._passed.place.position:
            return max(after.position, self._passed.up_to) or None
        return after.position or None

    async def _last_resort(self, after: LogPosition, refused: int | None) -> int | None:
        """For a position without an event, as scavenging leaves it: the place itself, or the event it names."""
        self._passed = _Passed(BEGINNING, 0)
        if refused != after.position:
            return after.position or None
        named = await self.locate(after.stream, after.revision) if after.stream else None
        return named.position if named is not None and named.position < after.position else None

    async def _follows(self, position: int) -> bool:
        """Whether there is anything of the bank's after a position."""
        try:
            page = await self._read_all(commit_position=position, limit=2)
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

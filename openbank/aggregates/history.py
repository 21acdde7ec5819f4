"""An aggregate as it is, or as it was right after one of its events: folded from the nearest snapshot.

All snapshots of an aggregate are kept, at intervals, so the number of events read for any revision is bounded and does
not grow with the stream. A snapshot is used only if the stream has the event that it was taken after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.aggregates.deciding import Decided, Subject
from openbank.aggregates.folding import BEFORE_FIRST, Tip, fold, tip_at
from openbank.codec import events as codec
from openbank.domain.errors import DoesNotFollow
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import NewerVersionNeeded, StoreDamaged, StreamDamaged
from openbank.eventstore.port import NO_STREAM, SNAPSHOT_EVENTS, EventStore, LogPosition, RecordedEvent, Snapshot
from openbank.integrity.quarantine import AggregateQuarantined, Quarantine
from openbank.integrity.trail import leads_to

NEAR = SNAPSHOT_EVENTS + 1
"""Events read together with a snapshot. Normally the newest snapshot is of one of them; otherwise its write is late."""
ONWARD = 100
"""Events that are read before a snapshot is looked for, where another instance has written, dozens in one append."""
PAGE = 1_000

State = TypeVar("State")
Result = TypeVar("Result")


class _NotBelieved(Exception):
    def __init__(self, at: LogPosition, reason: str) -> None:
        self.at = at
        self.reason = reason


class Moment(NamedTuple, Generic[State]):
    """An aggregate right after an event of its stream."""

    resource: Versioned[State]
    event: RecordedEvent


class NotBegun(StoreDamaged):
    """Other programs have written into the stream before the aggregate's first event, and this is one of theirs."""


class Happened(NamedTuple):
    """An event of an aggregate, decoded, and when it was recorded."""

    payload: codec.DomainEvent
    record_time: int


class Last(NamedTuple):
    """What an aggregate was when it was last in memory, and the revision of its last stored snapshot."""

    state: Snapshot
    kept_at: int


class _Start(NamedTuple, Generic[State]):
    """Where to fold from, the revision of the last stored snapshot up to there, and the id of the event there, which
    the stream must have; empty before the first event."""

    tip: Tip[State]
    kept_at: int = NO_STREAM
    event_id: bytes = b""


class _Folded(NamedTuple, Generic[State]):
    """The fold up to `event`, and the revision of the last stored snapshot."""

    tip: Tip[State]
    kept_at: int
    event: RecordedEvent | None = None


class History(Generic[State]):
    """The past of one aggregate.

    Methods raise AggregateQuarantined if an event does not follow, StoreDamaged, and the errors of reading the store.
    """

    __slots__ = ("_kept_at", "_last_id", "_quarantine", "_rebuilding", "_store", "_subject")

    def __init__(self, store: EventStore, quarantine: Quarantine, subject: Subject[State]) -> None:
        self._store = store
        self._quarantine = quarantine
        self._subject = subject
        self._kept_at = NO_STREAM
        """The revision of the last snapshot before the tip."""
        self._last_id = b""
        """The id of the event at the tip."""
        self._rebuilding: asyncio.Lock | None = None

    @property
    def _is_far(self) -> bool:
        """Whether a read is a round trip, which costs more than reading some events in excess."""
        return not self._store.sole_writer and self._subject.kind.snapshots is not None

    async def newest(self) -> Tip[State]:
        """The aggregate as it is."""
        return self._note(await self._believed(self._fold_newest()))

    async def onward(self, tip: Tip[State]) -> Tip[State]:
        """The aggregate after what the stream has beyond `tip`."""
        return self._note(await self._believed(self._fold_onward(_Folded(tip, self._kept_at))))

    def last(self, tip: Tip[State]) -> Last | None:
        """What `resume` takes; None without snapshots, or with large ones."""
        resource, snapshots = tip.resource, self._subject.kind.snapshots
        if resource is None or snapshots is None or snapshots.interval(resource.state) > SNAPSHOT_EVENTS:
            return None
        return Last(Snapshot(tip.revision, self._last_id, snapshots.encode(resource)), self._kept_at)

    def resume(self, last: Last) -> Tip[State] | None:
        """The aggregate as it was when it was last in memory."""
        tip, _, event_id = self._start_at(last.state)
        if not event_id:
            return None
        self._kept_at, self._last_id = last.kept_at, event_id
        return tip

    async def at(self, revision: int) -> Moment[State]:
        """The aggregate right after its event with this revision, which the stream has."""
        return await self._believed(self._at(revision))

    async def through(self, revision: int, count: int) -> Sequence[Moment[State]]:
        """The aggregate right after each of the last `count` events up to `revision`, which the stream has."""
        tip = tip_at(self._subject.kind, (await self.at(revision - count)).resource, revision - count)
        return await self._believed(self._through(tip, count))

    async def _through(self, tip: Tip[State], count: int) -> Sequence[Moment[State]]:
        moments = []
        for event in await self._store.read_stream(self._subject.stream, tip.revision, count):
            folded = self._fold_page(_Folded(tip, kept_at=event.revision), [event])  # No snapshot of an earlier state.
            moments.append(self._moment(folded, event.revision))
            tip = folded.tip
        if len(moments) < count:
            raise StoreDamaged(f"{self._subject.stream} ends before revision {tip.revision + 1}, which it had")
        return moments

    async def event(self, revision: int) -> Happened:
        """An event that the aggregate was folded from. Raises StoreDamaged where it is not there any more."""
        for event in await self._store.read_stream(self._subject.stream, revision - 1, 1):
            if event.revision == revision:
                return Happened(codec.decode(event.type, event.data, self._subject.id), event.metadata.record_time)
        raise StoreDamaged(f"{self._subject.stream} has no revision {revision}, which it had")

    async def _at(self, revision: int) -> Moment[State]:
        if self._is_far:
            start, folded = await self._fold_near(revision)
            if folded:
                return self._moment(folded, revision)
        elif revision <= SNAPSHOT_EVENTS:
            start = _Start(BEFORE_FIRST)
        else:
            start = await self._start(revision)
        if revision - start.tip.revision <= PAGE:
            return self._moment(await self._fold_from(start, revision), revision)
        # The stream was written before all snapshots were kept. The first caller makes the missing ones for all.
        self._rebuilding = self._rebuilding or asyncio.Lock()
        async with self._rebuilding:
            return self._moment(await self._fold_from(await self._start(revision), revision), revision)

    def written(self, decided: Sequence[Decided[State]]) -> None:
        """Keeps snapshots of what these commands, whose events are durable, have made of the aggregate."""
        for outcome, events in decided:
            if events:
                self._last_id = events[-1].id
                if isinstance(outcome, Versioned) and self._is_due(outcome, self._kept_at):
                    self._kept_at = self._keep(outcome, self._last_id)

    def _note(self, folded: _Folded[State]) -> Tip[State]:
        tip, self._kept_at, event = folded
        if event is not None:
            self._last_id = event.id
        return tip

    async def _start(self, through: int | None) -> _Start[State]:
        """The newest snapshot, up to the revision `through`, that this version can read."""
        has_snapshots = self._subject.kind.snapshots is not None
        return self._start_at(await self._store.snapshot(self._subject.stream, through) if has_snapshots else None)

    def _start_at(self, found: Snapshot | None) -> _Start[State]:
        snapshots = self._subject.kind.snapshots
        resource = snapshots.decode(found.data, self._subject.id) if found and snapshots else None
        if found and resource and resource.revision == found.revision:
            return _Start(tip_at(self._subject.kind, resource, found.revision), found.revision, found.event_id)
        return _Start(BEFORE_FIRST)

    async def _fold_newest(self) -> _Folded[State]:
        start, folded = await self._fold_near(None) if self._is_far else (await self._start(None), None)
        return folded or await self._fold_from(start)

    async def _fold_onward(self, folded: _Folded[State]) -> _Folded[State]:
        """To the end of the stream; from the newest snapshot where many events follow."""
        page = await self._store.read_stream(self._subject.stream, folded.tip.revision, ONWARD)
        return self._fold_page(folded, page) if len(page) < ONWARD else await self._fold_newest()

    async def _fold_near(self, through: int | None) -> tuple[_Start[State], _Folded[State] | None]:
        """To the end of the stream or through a revision, in as few round trips as the store can: where to start, and
        the fold, unless the start is further back than the events that were read."""
        events, snapshot = await self._store.read_newest(self._subject.stream, NEAR, through)
        if not events or events[0].revision == 1:
            return _Start(BEFORE_FIRST), self._fold_page(_Folded(BEFORE_FIRST, NO_STREAM), events)
        start = self._start_at(snapshot)
        return start, self._fold_within(start, events)

    def _fold_within(self, start: _Start[State], page: Sequence[RecordedEvent]) -> _Folded[State] | None:
        """Through `page`, if the event to start after is in it."""
        tip, kept_at, _ = start
        number = tip.revision - page[0].revision if page else -1
        if not 0 <= number < len(page) or not self._is_of(start, page[number]):
            return None
        return self._fold_page(_Folded(tip, kept_at, page[number]), page[number + 1 :])

    def _is_of(self, start: _Start[State], event: RecordedEvent) -> bool:
        """Whether a snapshot was taken after this event, and says what the event says."""
        try:
            return event.id == start.event_id and leads_to(event, start.tip.trail)
        except DoesNotFollow:
            return False

    async def _fold_from(self, start: _Start[State], through: int | None = None) -> _Folded[State]:
        tip, kept_at, event_id = start
        if not event_id:
            return await self._fold_on(_Folded(tip, NO_STREAM), through)
        limit = PAGE if through is None else through - tip.revision + 1
        page = await self._store.read_stream(self._subject.stream, tip.revision - 1, min(PAGE, limit))
        if not page or not self._is_of(start, page[0]):
            # A snapshot of another history.
            return await self._fold_on(_Folded(BEFORE_FIRST, NO_STREAM), through)
        folded = self._fold_page(_Folded(tip, kept_at, page[0]), page[1:])
        return folded if len(page) < PAGE else await self._fold_on(folded, through)

    async def _fold_on(self, folded: _Folded[State], through: int | None) -> _Folded[State]:
        """To the end of the stream, or through a revision."""
        while True:
            limit = PAGE if through is None else min(PAGE, through - folded.tip.revision)
            page = await self._store.read_stream(self._subject.stream, folded.tip.revision, limit) if limit else ()
            folded = self._fold_page(folded, page)
            if len(page) < PAGE:
                return folded

    def _fold_page(self, folded: _Folded[State], page: Sequence[RecordedEvent]) -> _Folded[State]:
        tip, kept_at, event = folded
        for event in page:
            if self._quarantine.is_skipped(event.stream, event.revision):
                tip = tip.skipping(event.revision)
                continue
            try:
                tip = fold(self._subject.kind, tip, event)
            except DoesNotFollow as error:
                raise _NotBelieved(event.place, str(error)) from None
            # Never after an event of another program: the aggregate is not of that revision.
            if tip.resource and tip.resource.revision == tip.revision and self._is_due(tip.resource, kept_at):
                kept_at = self._keep(tip.resource, event.id)
        return _Folded(tip, kept_at, event)

    async def _believed(self, reading: Awaitable[Result]) -> Result:
        """Reads events. If some are not believed, sets the aggregate aside durably and raises AggregateQuarantined."""
        try:
            return await reading
        except _NotBelieved as found:
            raise await self._set_aside(found.at, found.reason) from None
        except StreamDamaged as error:
            raise await self.damaged(error) from error
        except NewerVersionNeeded as error:
            self._quarantine.newer.meet(error)
            raise

    async def damaged(self, error: StreamDamaged) -> AggregateQuarantined:
        """Sets the aggregate aside for what the store says of its stream."""
        return await self._set_aside(LogPosition(0, self._subject.stream, error.revision), str(error))

    async def _set_aside(self, at: LogPosition, reason: str) -> AggregateQuarantined:
        return AggregateQuarantined(at.stream, await self._quarantine.set_aside(at, reason))

    def _is_due(self, resource: Versioned[State], kept_at: int) -> bool:
        """Whether a snapshot is to be kept, the last one being that of `kept_at`."""
        events, snapshots = resource.revision - kept_at, self._subject.kind.snapshots
        return events >= SNAPSHOT_EVENTS and (snapshots is None or events >= snapshots.interval(resource.state))

    def _keep(self, resource: Versioned[State], event_id: bytes) -> int:
        subject = self._subject
        if subject.kind.snapshots:
            data = subject.kind.snapshots.encode(resource)
            self._store.keep_snapshot(subject.stream, Snapshot(resource.revision, event_id, data))
        return resource.revision

    def _moment(self, folded: _Folded[Any], revision: int) -> Moment[State]:
        if folded.event is not None and folded.tip.resource is None and folded.tip.revision == revision:
            raise NotBegun(f"{self._subject.stream} has none of the bank's events up to revision {revision}")
        if folded.event is None or folded.tip.resource is None or folded.tip.revision != revision:
            raise StoreDamaged(f"{self._subject.stream} ends before revision {revision}, which it had")
        return Moment(folded.tip.resource, folded.event)

"""One aggregate being written: its state, its queue of commands, and one append at a time.

Commands that arrive while an append is under way wait, and are then decided together, each on the state that the one
before it leaves, and appended as one: many writes to one account cost one commit, and no answer ever rests on an event
that is not durable. When the append fails, what was decided is forgotten and decided again; nothing has to be undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.domain.clock import Clock
from openbank.domain.errors import RequestIdReused, RevisionMismatch
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore import codec, streams
from openbank.eventstore.ids import event_id
from openbank.eventstore.port import (
    APPEND_BYTES_MAX,
    NO_STREAM,
    EventStore,
    LogPosition,
    Metadata,
    NewEvent,
    OutcomeUnknown,
    RecordedEvent,
    Snapshot,
    StoreDamaged,
    StoreUnavailable,
    WrongExpectedRevision,
)

BATCH_BYTES_MAX = APPEND_BYTES_MAX // 2
"""Where a batch of commands ends. No command's own events come near the other half."""
METADATA_BYTES = 1_000
"""What is counted for an event beside its payload: in JSON, with the longest correlation id, it is no more."""
REQUESTS_MAX = 1_000
"""Request ids remembered in memory for one aggregate, the newest; the store knows the others."""
REQUESTS_PER_WEIGHT = 4
"""Some 250 bytes each, an aggregate without any 1,000."""
SNAPSHOT_EVENTS = 100
"""Events between two snapshots of an aggregate, and so what at most has to be read beside one."""
GATHER_COMMANDS_MAX = 32
GATHER_SECONDS_MAX = 0.005
"""How long commands wait for as many as were last decided together, and for how many at the most: callers that were
answered together ask again together, and each append has a sync of its own. A lone caller never waits."""
PAGE = 1_000

State = TypeVar("State")
Decide = Callable[[State | None], Sequence[codec.DomainEvent]]
"""From an aggregate's state (None before its first event) to the events that a command makes; raises Refused."""


class Written(NamedTuple, Generic[State]):
    """A command's outcome: the resource right after its last event, and that event's id and record time.

    `position` is the log up to there. `replayed` tells that the events are those of an earlier call.
    """

    resource: Versioned[State]
    event_id: bytes
    record_time: int
    position: LogPosition
    replayed: bool


class SnapshotCodec(NamedTuple, Generic[State]):
    """Aggregates of one kind as bytes, and back: from those and the id; None for bytes of another version."""

    encode: Callable[[Versioned[State]], bytes]
    decode: Callable[[bytes, str], Versioned[State] | None]


@dataclass(frozen=True, slots=True)
class Kind(Generic[State]):
    """What makes the aggregates of one kind: the stream of an id, the fold, and who owns one, where somebody does.

    Those that may have long streams have snapshots.
    """

    stream: Callable[[str], str]
    apply: Callable[[State | None, Any], State]
    owner: Callable[[State], str] = lambda _: ""
    snapshots: SnapshotCodec[State] | None = None


@dataclass(slots=True, eq=False)
class _Attempt(Generic[State]):
    """One command in the queue, and what was last decided of it."""

    decide: Decide[State]
    request: Request
    answer: asyncio.Future[Any]
    events: list[NewEvent] = field(default_factory=list)
    outcome: Any = None
    """The resource after its events, or as it is when there are none; a replay; or what it was refused with."""


class _Known(NamedTuple):
    """A request whose events are in the stream: its fingerprint, and the revision of the last of them."""

    hash: bytes
    revision: int


class _Replay(NamedTuple):
    revision: int


class _Tip(NamedTuple, Generic[State]):
    """The end of a stream, and the aggregate there.

    `revision` is ahead of the resource's where another program has written into the stream: its events are none of the
    bank's, but they have a place.
    """

    resource: Versioned[State] | None
    revision: int


class Aggregate(Generic[State]):
    """The writing side of one aggregate. Made and kept by its `Repository`."""

    def __init__(self, store: EventStore, kind: Kind[State], aggregate_id: str, clock: Clock) -> None:
        self._store = store
        self._kind = kind
        self._id = aggregate_id
        self._stream = kind.stream(aggregate_id)
        self._clock = clock
        self._loaded = False
        self._tip: _Tip[State] = _Tip(None, NO_STREAM)
        self._requests: dict[bytes, _Known] = {}
        self._forgotten = NO_STREAM
        """The revision up to which requests are no longer, or not all, in memory."""
        self._snapshot_at = NO_STREAM
        """The revision of the last snapshot."""
        self._queue: list[_Attempt[State]] = []
        self._working: asyncio.Handle | asyncio.Future[Any] | None = None
        """What is under way, and will go on with the queue when it ends."""
        self._company = 1
        """How many commands were last decided together."""
        self._gathering = False
        """Whether those in the queue wait for as many."""
        self.counted = 0
        """The weight that the repository has counted for it."""

    @property
    def idle(self) -> bool:
        return self._working is None

    @property
    def weight(self) -> int:
        """How much memory it holds, in aggregates without a long memory of requests."""
        return 1 + len(self._requests) // REQUESTS_PER_WEIGHT

    async def execute(self, decide: Decide[State], request: Request) -> Written[State]:
        """Decides and appends; answers only what is durable, and so is everything it was decided on.

        Raises what `decide` raises, RequestIdReused, InvalidFields for the request's violations, RevisionMismatch,
        StoreUnavailable and OutcomeUnknown.
        """
        outcome = await self._enqueue(decide, request)
        if isinstance(outcome, _Replay):
            return await self._replay(outcome.revision)
        if not isinstance(outcome, Written):
            raise ValueError(f"a command on {self._stream} made no event")
        return outcome

    async def load(self) -> Versioned[State] | None:
        """The aggregate as it is, durable; None before its first event."""
        outcome = await self._enqueue(lambda _: (), Request())
        assert outcome is None or isinstance(outcome, Versioned)
        return outcome

    async def find(self, request: Request) -> Written[State] | None:
        """The outcome of this request, where its events are in the stream.

        Raises RequestIdReused, and InvalidFields for the violations of a request that is not there.
        """
        try:
            return await self.execute(_only_replay, request._replace(expected_revision=None))
        except _NotFound:
            return None

    async def _enqueue(self, decide: Decide[State], request: Request) -> object:
        loop = asyncio.get_running_loop()
        attempt: _Attempt[State] = _Attempt(decide, request, loop.create_future())
        self._queue.append(attempt)
        if self._working is None:
            self._gather()
        elif self._gathering and len(self._queue) >= self._company:
            self._working.cancel()
            self._gather()
        return await attempt.answer

    def _gather(self) -> None:
        """Begins with what is in the queue when as many are there as were last decided together, or after a while."""
        loop = asyncio.get_running_loop()
        self._gathering = 0 < len(self._queue) < self._company
        if self._gathering:
            self._working = loop.call_later(GATHER_SECONDS_MAX, self._proceed)
        elif self._queue:
            # Not at once: those who come in the same turn are decided together.
            self._working = loop.call_soon(self._proceed)
        else:
            self._working = None

    def _proceed(self) -> None:
        """Begins with what is in the queue. What needs nothing but memory is decided at once, without a task.

        An append is never its caller's own: one that gives up must not take the others' with it.
        """
        self._gathering = False
        while batch := [attempt for attempt in self._queue if not attempt.answer.done()]:
            self._company = min(len(batch), GATHER_COMMANDS_MAX)
            if not self._is_in_memory(batch):
                self._working = asyncio.create_task(self._work())
                return
            decided, tip = self._decide(batch)
            self._queue = batch[len(decided) :]
            events = _events(decided)
            if events:
                self._working = appending = asyncio.ensure_future(
                    self._store.append(self._stream, self._tip.revision, events)
                )
                appending.add_done_callback(partial(self._appended, decided, tip))
                return
            _answer(decided)
        self._queue = []
        self._working = None

    def _is_in_memory(self, batch: list[_Attempt[State]]) -> bool:
        """Whether all that these are to be decided on is."""
        return self._loaded and self._store.sole_writer and not self._to_recall(batch)

    def _appended(self, decided: list[_Attempt[State]], tip: _Tip[State], appending: asyncio.Future[int]) -> None:
        if appending.exception() is None:
            self._written(decided, tip, appending.result())
            self._gather()
        else:
            self._working = asyncio.create_task(self._recover(decided, tip, appending))

    async def _recover(self, decided: list[_Attempt[State]], tip: _Tip[State], failed: asyncio.Future[int]) -> None:
        try:
            await self._append(decided, tip, failed)
        except Exception as error:
            self._loaded = False
            _fail(decided, error)
        self._queue = [*decided, *self._queue]
        await self._work()

    async def _work(self) -> None:
        """What is in the queue and has to wait for the store."""
        batch, self._queue = self._queue, []
        try:
            await self._settle(batch)
            self._forget()
        except Exception as error:
            self._loaded = False
            _fail(batch, error)
        finally:
            self._gather()

    async def _settle(self, batch: list[_Attempt[State]]) -> None:
        """Until each of `batch` has its answer. Who has given up before it is decided leaves no trace."""
        current = self._loaded and self._store.sole_writer
        while batch := [attempt for attempt in batch if not attempt.answer.done()]:
            if not self._loaded:
                await self._catch_up()
                current = True
            await self._recall(batch)
            # Nothing is awaited between this and the append: who has given up until here has not been decided.
            batch = [attempt for attempt in batch if not attempt.answer.done()]
            decided, tip = self._decide(batch)
            events = _events(decided)
            if events:
                current = await self._append(decided, tip, self._store.append(self._stream, self._tip.revision, events))
            elif current:
                _answer(decided)
            else:
                # Another instance may have appended: what is refused or repeated is decided on what is there now.
                await self._catch_up()
                current = True

    async def _append(self, decided: list[_Attempt[State]], tip: _Tip[State], appending: Awaitable[int]) -> bool:
        """Whether the aggregate is known to be as the store has it. Answers those who got an answer."""
        expected = self._tip.revision
        try:
            position = await appending
        except WrongExpectedRevision as error:
            await self._catch_up()
            if self._tip.revision == expected:
                raise StoreDamaged(f"{self._stream} reads as at revision {expected}, but: {error}") from error
            return True
        except (StoreUnavailable, OutcomeUnknown) as error:
            # Those who were refused on the strength of these events are decided again without them.
            self._loaded = isinstance(error, StoreUnavailable)
            _fail([attempt for attempt in decided if attempt.events], error)
            return False
        self._written(decided, tip, position)
        return True

    def _written(self, decided: list[_Attempt[State]], tip: _Tip[State], position: int) -> None:
        revision, last, self._tip = self._tip.revision, b"", tip
        for attempt in decided:
            for event in attempt.events:
                revision += 1
                self._remember(event.metadata, revision)
                last = event.id
        self._keep_snapshot(last)
        _answer(decided, LogPosition(position, self._stream, revision))

    def _decide(self, batch: list[_Attempt[State]]) -> tuple[list[_Attempt[State]], _Tip[State]]:
        """Decides as many of `batch` as one append can hold, and the state they leave."""
        tip = self._tip
        made: dict[bytes, _Known] = {}
        size = 0
        for count, attempt in enumerate(batch, 1):
            attempt.events = []
            try:
                tip = self._decide_one(attempt, tip, made)
            except Exception as error:
                # All of a command's events or none: a later one may have failed.
                attempt.events, attempt.outcome = [], error
            for event in attempt.events:
                size += len(event.data) + METADATA_BYTES
            if size > BATCH_BYTES_MAX:
                return batch[:count], tip
        return batch, tip

    def _decide_one(self, attempt: _Attempt[State], tip: _Tip[State], made: dict[bytes, _Known]) -> _Tip[State]:
        """The order of the checks is the contract's: fields, replay, existence, expected_revision, state, rules.

        A replay's fields are not checked: they were valid when it was acknowledged.
        """
        request, now = attempt.request, tip.resource
        known = (self._requests.get(request.id) or made.get(request.id)) if request.id else None
        if known and request.repeats(known.hash):
            attempt.outcome = _Replay(known.revision)
            return tip
        if request.violations:
            request.check(now.state if now else None)
        if known:
            raise RequestIdReused
        if request.expected_revision is not None and now and now.revision != request.expected_revision:
            raise RevisionMismatch(streams.split(self._stream)[0], self._id, request.expected_revision, now.revision)
        events = attempt.decide(now.state if now else None)
        attempt.outcome = now
        for part, event in enumerate(events):
            tip = self._record(attempt, event, tip, part, len(events))
        if events and request.id:
            made[request.id] = _Known(request.hash, tip.revision)
        return tip

    def _record(
        self, attempt: _Attempt[State], event: codec.DomainEvent, tip: _Tip[State], part: int, parts: int
    ) -> _Tip[State]:
        request, now = attempt.request, self._clock()
        resource = self._apply(tip, event, now)
        type_name, data = codec.encode(event)
        metadata = Metadata(
            now, request.id, request.hash, request.correlation_id, "", self._kind.owner(resource.state), part, parts
        )
        new = NewEvent(event_id(self._stream, request, part, now), type_name, data, metadata)
        attempt.events.append(new)
        attempt.outcome = resource
        return _Tip(resource, resource.revision)

    def _apply(self, tip: _Tip[State], event: codec.DomainEvent, time: int) -> Versioned[State]:
        state, create_time = (tip.resource.state, tip.resource.create_time) if tip.resource else (None, time)
        return Versioned(self._kind.apply(state, event), tip.revision + 1, create_time, time)

    async def _recall(self, batch: list[_Attempt[State]]) -> None:
        """Asks the store for the requests of `batch` that may be older than what is in memory."""
        if ids := self._to_recall(batch):
            for event in await self._store.find_requests(self._stream, tuple(ids)):
                self._requests[event.metadata.request_id] = _Known(event.metadata.request_hash, event.revision)

    def _to_recall(self, batch: list[_Attempt[State]]) -> set[bytes]:
        if self._forgotten == NO_STREAM:
            return set()
        return {attempt.request.id for attempt in batch if attempt.request.id} - self._requests.keys()

    async def _catch_up(self) -> None:
        """Folds what the stream has beyond what is known; everything, the first time."""
        if not self._loaded:
            self._tip = await self._from_snapshot()
            self._snapshot_at = self._forgotten = self._tip.revision
            self._requests = {}
        while True:
            page = await self._store.read_stream(self._stream, self._tip.revision, PAGE)
            for event in page:
                self._tip = self._fold(self._tip, event)
                self._remember(event.metadata, event.revision)
            if page:
                self._keep_snapshot(page[-1].id)
            if len(page) < PAGE:
                break
        self._loaded = True

    async def _from_snapshot(self) -> _Tip[State]:
        """Where the last snapshot leads, if there is one and it is of this very stream; else before the first event."""
        codec_, found = self._kind.snapshots, None
        if codec_:
            found = await self._store.snapshot(self._stream)
        if codec_ and found and (resource := codec_.decode(found.data, self._id)):
            events = await self._store.read_stream(self._stream, found.revision - 1, 1)
            if events and events[0].id == found.event_id and resource.revision == found.revision:
                return _Tip(resource, found.revision)
        return _Tip(None, NO_STREAM)

    def _keep_snapshot(self, event_id: bytes) -> None:
        """Every now and then, and never of what another program wrote last."""
        resource, revision = self._tip
        if not self._kind.snapshots or revision - self._snapshot_at < SNAPSHOT_EVENTS:
            return
        self._snapshot_at = revision
        if resource and resource.revision == revision:
            self._store.keep_snapshot(self._stream, Snapshot(revision, event_id, self._kind.snapshots.encode(resource)))

    def _fold(self, tip: _Tip[State], event: RecordedEvent) -> _Tip[State]:
        if event.revision != tip.revision + 1:
            raise StoreDamaged(f"{event.stream} has a gap before revision {event.revision}")
        if not codec.is_ours(event.type):
            return _Tip(tip.resource, event.revision)
        decoded = codec.decode(event.type, event.data, self._id)
        return _Tip(self._apply(tip, decoded, event.metadata.record_time), event.revision)

    def _remember(self, metadata: Metadata, revision: int) -> None:
        if metadata.request_id:
            # Removed first, so that the newest stand last also when a command has several events.
            self._requests.pop(metadata.request_id, None)
            self._requests[metadata.request_id] = _Known(metadata.request_hash, revision)
            self._forget()

    def _forget(self) -> None:
        """Never between `_recall` and `_decide`: what was recalled for a batch must be there when it is decided."""
        while len(self._requests) > REQUESTS_MAX:
            oldest = next(iter(self._requests))
            self._forgotten = max(self._forgotten, self._requests.pop(oldest).revision)

    async def _replay(self, revision: int) -> Written[State]:
        """The outcome of the command whose last event has `revision`, as it was then."""
        tip: _Tip[State] = _Tip(None, NO_STREAM)
        while True:
            page = await self._store.read_stream(self._stream, tip.revision, min(PAGE, revision - tip.revision))
            for event in page:
                tip = self._fold(tip, event)
            if not page or tip.revision >= revision:
                break
        if tip.resource is None or tip.revision != revision:
            raise StoreDamaged(f"{self._stream} ends before revision {revision}, which it had")
        event = page[-1]
        return Written(tip.resource, event.id, event.metadata.record_time, event.place, replayed=True)


class _NotFound(Exception):
    """The stream does not have this request."""


def _only_replay(_: object) -> Sequence[codec.DomainEvent]:
    raise _NotFound


def _events(decided: Sequence[_Attempt[Any]]) -> list[NewEvent]:
    return [event for attempt in decided for event in attempt.events]


def _answer(decided: Sequence[_Attempt[Any]], at: LogPosition | None = None) -> None:
    for attempt in decided:
        if attempt.answer.done():
            continue
        if isinstance(attempt.outcome, Exception):
            attempt.answer.set_exception(attempt.outcome)
        elif attempt.events and at:
            last = attempt.events[-1]
            written = Written(attempt.outcome, last.id, last.metadata.record_time, at, replayed=False)
            attempt.answer.set_result(written)
        else:
            attempt.answer.set_result(attempt.outcome)


def _fail(attempts: Sequence[_Attempt[Any]], error: BaseException) -> None:
    for attempt in attempts:
        if not attempt.answer.done():
            attempt.answer.set_exception(error)

"""One aggregate being written: its state, its queue of commands, and one append at a time.

Commands that arrive while an append is under way wait, and are then decided together, each on the state that the one
before it leaves, and appended as one. Many writes to one account cost one commit, and no answer rests on an event that
is not durable. When the append fails, what was decided is forgotten and decided again; nothing has to be undone.

    idle -> gathering -> reading -> deciding -> appending -> answering -> gathering, or idle with an empty queue
                            ^          |            |
                            |          |            +-- another writer was first, or the append failed
                            |          +-- no events, and another process may have written since
                            +----------+

`_work` is a task that walks this from the first command until the queue is empty. Reading is skipped where memory has
all that is needed; between the end of reading and the append nothing is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import time_ns
from typing import Any, Generic, TypeVar

from openbank.aggregates.deciding import Command, Decide, Decided, Replay, Steps, Subject, decide, events_of
from openbank.aggregates.folding import BEFORE_FIRST, Tip
from openbank.aggregates.history import Happened, History, Last
from openbank.aggregates.outcomes import NotRecorded, Outcomes, only_replay
from openbank.aggregates.record_times import RecordTimes
from openbank.aggregates.statistics import CommandStatistics
from openbank.aggregates.waiting import Recorded, Waiting, Written, answer, fail, replays, still_there, trace_append
from openbank.codec import events as codec
from openbank.domain.errors import EventsTooLarge
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import (
    AppendTooLarge,
    OutcomeUnknown,
    StoreDamaged,
    StoreUnavailable,
    StreamDamaged,
    WrongExpectedRevision,
)
from openbank.eventstore.port import APPEND_BYTES_MAX, NO_STREAM, EventStore, LogPosition, NewEvent
from openbank.integrity.quarantine import Quarantine
from openbank.pause import Pause
from openbank.tracing.span import current

GATHER_COMMANDS_MAX = 32
"""Commands wait for as many others as were last decided together, up to this many: callers that were answered together
ask again together, and each append has a sync of its own. A lone caller never waits."""
GATHER_SECONDS_MAX = 0.005
"""How long they wait."""

State = TypeVar("State")


class Aggregate(Generic[State]):
    """The writing side of one aggregate. Made and kept by its `Repository`.

    It remembers no request: whether a request id is known is asked of the store, which has an index of them.
    """

    __slots__ = (
        "_company",
        "_gathering",
        "_history",
        "_outcomes",
        "_quarantine",
        "_queue",
        "_statistics",
        "_store",
        "_subject",
        "_times",
        "_tip",
        "_working",
    )

    def __init__(
        self,
        store: EventStore,
        quarantine: Quarantine,
        subject: Subject[State],
        times: RecordTimes,
        statistics: CommandStatistics,
        last: Last | None = None,
    ) -> None:
        """`last` is from the aggregate's `last`, when it was in memory before."""
        self._store = store
        self._quarantine = quarantine
        self._subject = subject
        self._history = History(store, quarantine, subject)
        self._outcomes = Outcomes(store, quarantine, subject, self._history, statistics)
        self._times = times
        self._statistics = statistics
        self._tip: Tip[State] | None = self._history.resume(last) if last else None
        """None until the stream has been read, and after an append whose outcome is unknown. Where others write to the
        store, it may be behind: their events are read once an append is refused or nothing is to be appended."""
        self._queue: list[Waiting[State]] = []
        self._working: asyncio.Task[None] | None = None
        self._company = 1
        """How many commands were last decided together."""
        self._gathering: Pause | None = None
        """While those in the queue wait for as many."""

    @property
    def idle(self) -> bool:
        return self._working is None

    @property
    def last(self) -> Last | None:
        """What is worth keeping of it when it leaves memory, in a fraction of its size."""
        return self._history.last(self._tip) if self._tip else None

    async def execute(
        self, decide: Decide[State], request: Request, steps: Steps[State] | None = None
    ) -> Written[State]:
        """Decides and appends; answers only what is durable, and so is everything it was decided on.

        A command may decide on no events: nothing is appended, and its request id stays unused. Of a dry run nothing is
        appended either, and no other command is decided on what it would do. `steps` takes what became of each event.
        Raises what `decide` raises, RequestIdReused, InvalidFields for the request's violations, RevisionMismatch,
        EventsTooLarge, AggregateQuarantined, NewerVersionNeeded, StoreUnavailable and OutcomeUnknown.
        """
        self._quarantine.check(self._subject.stream)
        outcome = await self._add(Command(decide, request, None, steps))
        return outcome if isinstance(outcome, Written) else await self._outcomes.written(outcome)

    def begin(self, commands: Sequence[Command[State]], new_at: int = NO_STREAM) -> Sequence[asyncio.Future[Any]]:
        """Queues commands, to be decided in order, one right after the other. `ended` takes the answers.

        Up to the revision `new_at` the stream is known not to have their requests.
        Raises AggregateQuarantined, NewerVersionNeeded.
        """
        self._quarantine.check(self._subject.stream)
        return [self._add(command, new_at) for command in commands]

    async def ended(self, answers: Sequence[asyncio.Future[Any]]) -> Sequence[Written[State] | Exception]:
        """What `execute` returns or raises for each command that `begin` queued. All have their answers."""
        return await self._outcomes.of_all([one.exception() or one.result() for one in answers])

    async def replayed(self, revision: int, count: int) -> Sequence[Written[State]]:
        """See `Outcomes.replayed`."""
        return await self._outcomes.replayed(revision, count)

    async def rehearse(self, decide: Decide[State], request: Request) -> Written[State] | None:
        """The outcome of a request whose events are in the stream; None where `execute` would append some now.

        Appends nothing. Raises what `execute` would refuse with.
        """
        outcome = await self._enqueue(decide, request._replace(validate_only=True))
        return await self._outcomes.written(outcome) if isinstance(outcome, Replay) else None

    def presume_new(self) -> None:
        """Spares the next command the read of a stream that most likely has no events: where it has, the append finds
        that out, and the command is decided again on what is there."""
        if self._tip is None and self.idle and not self._store.sole_writer:
            self._tip = BEFORE_FIRST

    async def load(self) -> Versioned[State] | None:
        """The aggregate as it is, durable; None before its first event."""
        outcome = await self._enqueue(lambda _: (), Request())
        assert outcome is None or isinstance(outcome, Versioned)
        return outcome

    def glance(self) -> Versioned[State] | None:
        """The aggregate as memory has it, which may be behind the store; None where it has nothing.

        Raises AggregateQuarantined.
        """
        self._quarantine.check(self._subject.stream)
        return self._tip.resource if self._tip else None

    async def at(self, revision: int) -> Recorded[State]:
        """The event with this revision, which the stream has, read from the log and checked.

        Raises AggregateQuarantined, StoreUnavailable, StoreDamaged.
        """
        self._quarantine.check(self._subject.stream)
        resource, event = await self._history.at(revision)
        is_believed = resource.revision == revision
        happened = codec.decode(event.type, event.data, self._subject.id) if is_believed else None
        return Recorded(event, happened, resource)

    async def find(self, request: Request) -> Written[State] | None:
        """The outcome of this request, where its events are in the stream.

        Raises RequestIdReused, and InvalidFields for the violations of a request that is not there.
        """
        try:
            return await self.execute(only_replay, request._replace(expected_revision=None))
        except NotRecorded:
            return None

    async def event(self, revision: int) -> Happened:
        """See `History.event`."""
        return await self._history.event(revision)

    async def _enqueue(self, decide: Decide[State], request: Request) -> object:
        self._quarantine.check(self._subject.stream)
        return await self._add(Command(decide, request))

    def _add(self, command: Command[State], new_at: int = NO_STREAM) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        waiting: Waiting[State] = Waiting(command, loop.create_future(), current.get(), new_at)
        self._queue.append(waiting)
        if self._working is None:
            # A task, and not the caller's: a caller that gives up must not take the others' append with it. It begins
            # in the next turn of the loop, so that commands of one turn are decided together.
            self._working = loop.create_task(self._work())
        elif self._gathering and len(self._queue) >= self._company:
            self._gathering.end()
        return waiting.answer

    async def _work(self) -> None:
        while self._queue:
            if len(self._queue) < self._company:
                self._gathering = Pause()
                await self._gathering.wait(GATHER_SECONDS_MAX)
                self._gathering = None
            batch, self._queue = self._queue, []
            self._company = min(len(batch), GATHER_COMMANDS_MAX)
            try:
                await self._settle(batch)
            except StreamDamaged as error:
                self._tip = None
                fail(batch, await self._quarantined(error))
            except Exception as error:
                self._tip = None
                fail(batch, error)
        self._working = None

    async def _quarantined(self, error: StreamDamaged) -> Exception:
        try:
            return await self._history.damaged(error)
        except (StoreUnavailable, StoreDamaged) as failed:
            return failed

    async def _settle(self, batch: Sequence[Waiting[State]]) -> None:
        """Until each command of `batch` has its answer, or nobody waits for one."""
        is_newest = self._store.sole_writer and self._tip is not None
        while batch := still_there(batch):
            if self._tip is None:
                self._tip = await self._history.newest()
                is_newest = True
            ids = [one.command.request.id for one in batch if one.new_at < self._tip.revision]
            known = await self._outcomes.known(ids, self._tip.revision) if ids else {}
            # Nothing is awaited from here to the append, so a caller that has given up is not decided for.
            batch = still_there(batch)
            decided, tip = decide(self._subject, self._tip, [one.command for one in batch], known, self._times)
            events = events_of(decided)
            if events:
                is_newest = await self._append(batch, decided, events, tip)
            elif is_newest:
                answer(batch, decided)
                if len(decided) < len(batch):  # These took some time: others have their turn.
                    await asyncio.sleep(0)
            else:
                # What is in the stream stays there. The rest is decided on what another process may have added.
                answer(*replays(batch, decided))
                if still_there(batch):
                    self._tip, is_newest = await self._history.onward(self._tip), True

    async def _append(
        self,
        batch: Sequence[Waiting[State]],
        decided: Sequence[Decided[State]],
        events: Sequence[NewEvent],
        tip: Tip[State],
    ) -> bool:
        """Appends, and answers the commands whose events are stored. Returns whether the tip is known to be the
        store's."""
        before = self._tip
        assert before
        began = time_ns()
        try:
            position = await self._store.append(self._subject.stream, before.revision, events)
        except WrongExpectedRevision as error:
            self._statistics.conflicts += 1
            self._tip = await self._history.onward(before)
            if self._tip.revision == before.revision:
                raise StoreDamaged(f"{self._subject.stream} reads as at {before.revision}, but: {error}") from error
            return True
        except AppendTooLarge:
            refusal = EventsTooLarge(sum([len(event.data) for event in events]), APPEND_BYTES_MAX)
            fail([one for one, it in zip(batch, decided, strict=False) if it.events], refusal)
            return False
        except (StoreUnavailable, OutcomeUnknown) as error:
            # Those who were refused on the strength of these events are decided again without them.
            if isinstance(error, OutcomeUnknown):
                self._statistics.unknown += 1
                self._tip = None
            fail([one for one, outcome in zip(batch, decided, strict=False) if outcome.events], error)
            return False
        trace_append(batch, decided, began)
        self._statistics.appended(events)
        self._tip = tip
        self._history.written(decided)
        answer(batch, decided, LogPosition(position, self._subject.stream, tip.revision))
        return True

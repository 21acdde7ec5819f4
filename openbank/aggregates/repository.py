"""All aggregates of one kind: those in use and the lately used are kept in memory, up to a number of them.

The state of a dropped one stays in memory, encoded, so that it is brought back without a read.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, TypeVar

from openbank.aggregates.aggregate import Aggregate
from openbank.aggregates.deciding import Command, Decide, Steps, Subject, refusal_as_if_missing
from openbank.aggregates.folding import Kind
from openbank.aggregates.history import Happened, Last
from openbank.aggregates.record_times import RecordTimes
from openbank.aggregates.statistics import CommandStatistics
from openbank.aggregates.waiting import Recorded, Written, all_answered, given_up_together, refused
from openbank.domain.clock import Clock
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import NewerVersionNeeded, StoreUnavailable
from openbank.eventstore.port import NO_STREAM, EventStore
from openbank.integrity.quarantine import AggregateQuarantined, Quarantine

AT_ONCE = 32
"""Aggregates that `execute_each` works on at the same time."""

LAST_BYTES_MAX = 10 << 20
"""The memory for states of dropped aggregates: of some 20,000 accounts, about 500 bytes each."""
LAST_BYTES = 400
"""The memory of one beside its state."""

State = TypeVar("State")


class Repository(Generic[State]):
    """`kept_max` bounds the aggregates kept in memory, which take about 1.4 KB each, however long their streams are.

    An aggregate is dropped only while nothing is under way on it: there is never a second one for the same stream.
    """

    def __init__(
        self,
        store: EventStore,
        kind: Kind[State],
        clock: Clock,
        kept_max: int,
        quarantine: Quarantine | None = None,
        statistics: CommandStatistics | None = None,
    ) -> None:
        self._store = store
        self._quarantine = quarantine or Quarantine(store, clock)
        self._kind = kind
        self._times = RecordTimes(clock)
        self._statistics = statistics or CommandStatistics()
        self._kept_max = kept_max
        self._kept: OrderedDict[str, Aggregate[State]] = OrderedDict()
        self._last: OrderedDict[str, Last] = OrderedDict()
        """The last states of dropped aggregates, by stream."""
        self._last_bytes = 0

    def __len__(self) -> int:
        """How many aggregates are in memory."""
        return len(self._kept)

    async def execute(
        self, aggregate_id: str, decide: Decide[State], request: Request, steps: Steps[State] | None = None
    ) -> Written[State]:
        """See `Aggregate.execute`."""
        aggregate = self._aggregate(aggregate_id)
        try:
            return await aggregate.execute(decide, request, steps)
        except AggregateQuarantined as error:
            raise await self._as_told(aggregate_id, Command(decide, request), error) from None

    async def execute_each(
        self, works: Iterable[tuple[str, Sequence[Command[State]]]]
    ) -> Sequence[Sequence[Written[State] | Exception]]:
        """What `execute` returns or raises for each command on each of these aggregates, given by their ids.

        Those on one aggregate are decided in order, one right after the other. Up to AT_ONCE aggregates are worked on
        at the same time, and share commits.
        """
        begun: list[tuple[str, Sequence[Command[State]], Aggregate[State], Sequence[asyncio.Future[Any]]]] = []
        answers: list[asyncio.Future[Any]] = []
        with given_up_together(answers):
            rest = iter(works)
            while at_once := list(islice(rest, AT_ONCE)):
                new_at = await self._new_at(at_once)
                for aggregate_id, commands in at_once:
                    aggregate = self._aggregate(aggregate_id)
                    try:
                        some = aggregate.begin(commands, new_at.get(aggregate_id, NO_STREAM))
                    except (AggregateQuarantined, NewerVersionNeeded) as error:
                        some = [refused(error) for _ in commands]
                    begun.append((aggregate_id, commands, aggregate, some))
                    answers += some
                await all_answered(answers)
        outcomes = []
        for aggregate_id, commands, aggregate, some in begun:
            ended = await aggregate.ended(some)
            if any(isinstance(outcome, AggregateQuarantined) for outcome in ended):
                ended = await self._all_as_told(aggregate_id, commands, ended)
            outcomes.append(ended)
        return outcomes

    async def _new_at(self, works: Sequence[tuple[str, Sequence[Command[State]]]]) -> Mapping[str, int]:
        """The aggregates, by id, that have none of these requests, and up to which revision they have none.

        One look for all, where most requests are new. What it leaves out, each aggregate looks up by itself.
        """
        revisions: dict[str, int] = {}
        requests: list[tuple[str, bytes]] = []
        for aggregate_id, commands in works:
            with suppress(AggregateQuarantined, NewerVersionNeeded):
                if now := self.glance(aggregate_id):
                    revisions[aggregate_id] = now.revision
                    stream = self._kind.stream(aggregate_id)
                    requests += [(stream, command.request.id) for command in commands if command.request.id]
        with suppress(StoreUnavailable):
            seen = await self._store.streams_with(requests)
            return {id: revision for id, revision in revisions.items() if self._kind.stream(id) not in seen}
        return {}

    async def _all_as_told(
        self, aggregate_id: str, commands: Sequence[Command[State]], outcomes: Sequence[Written[State] | Exception]
    ) -> Sequence[Written[State] | Exception]:
        return [
            await self._as_told(aggregate_id, command, outcome)
            if isinstance(outcome, AggregateQuarantined)
            else outcome
            for command, outcome in zip(commands, outcomes, strict=True)
        ]

    async def _as_told(self, aggregate_id: str, command: Command[State], error: AggregateQuarantined) -> Exception:
        """That an aggregate is quarantined is for its owner to know."""
        owner = command.request.owner
        if owner is None or await self._belongs_to(aggregate_id, owner):
            return error
        return refusal_as_if_missing(command)

    async def _belongs_to(self, aggregate_id: str, person_id: str) -> bool:
        """Says what its first event says: of an aggregate that is quarantined there may be no state."""
        first = await self._store.read_stream(self._kind.stream(aggregate_id), NO_STREAM, 1)
        return bool(first) and (first[0].metadata.owner_id or aggregate_id) == person_id

    async def replayed(self, aggregate_id: str, revision: int, count: int) -> Sequence[Written[State]]:
        """See `Aggregate.replayed`."""
        return await self._aggregate(aggregate_id).replayed(revision, count)

    async def rehearse(self, aggregate_id: str, decide: Decide[State], request: Request) -> Written[State] | None:
        """See `Aggregate.rehearse`."""
        return await self._aggregate(aggregate_id).rehearse(decide, request)

    async def load(self, aggregate_id: str) -> Versioned[State] | None:
        """See `Aggregate.load`."""
        return await self._aggregate(aggregate_id).load()

    def glance(self, aggregate_id: str) -> Versioned[State] | None:
        """See `Aggregate.glance`."""
        aggregate = self._kept.get(self._kind.stream(aggregate_id))
        return aggregate.glance() if aggregate else None

    async def at(self, aggregate_id: str, revision: int) -> Recorded[State]:
        """See `Aggregate.at`."""
        return await self._aggregate(aggregate_id).at(revision)

    def presume_new(self, aggregate_id: str) -> None:
        """See `Aggregate.presume_new`. Nothing is to be awaited between this and the command."""
        self._aggregate(aggregate_id).presume_new()

    async def find(self, aggregate_id: str, request: Request) -> Written[State] | None:
        """See `Aggregate.find`."""
        return await self._aggregate(aggregate_id).find(request)

    async def event(self, aggregate_id: str, revision: int) -> Happened:
        """See `History.event`."""
        return await self._aggregate(aggregate_id).event(revision)

    def _aggregate(self, aggregate_id: str) -> Aggregate[State]:
        """To be given work before anything is awaited: until then it counts as idle, and may be dropped."""
        # By stream, not by id: two ways to write an account number are one stream.
        stream = self._kind.stream(aggregate_id)
        aggregate = self._kept.get(stream)
        if aggregate is None:
            self._drop()
            aggregate = self._kept[stream] = Aggregate(
                self._store,
                self._quarantine,
                Subject(self._kind, aggregate_id, stream),
                self._times,
                self._statistics,
                self._take_last(stream),
            )
        else:
            self._kept.move_to_end(stream)
        return aggregate

    def _drop(self) -> None:
        """Makes room for one more. Those at work stay, at the end, as the last used."""
        for _ in range(len(self._kept)):
            if len(self._kept) < self._kept_max:
                break
            stream, aggregate = self._kept.popitem(last=False)
            if not aggregate.idle:
                self._kept[stream] = aggregate
            elif last := aggregate.last:
                self._keep_last(stream, last)

    def _keep_last(self, stream: str, last: Last) -> None:
        self._last[stream] = last
        self._last_bytes += _size(last)
        while self._last_bytes > LAST_BYTES_MAX:
            self._last_bytes -= _size(self._last.popitem(last=False)[1])

    def _take_last(self, stream: str) -> Last | None:
        last = self._last.pop(stream, None)
        if last:
            self._last_bytes -= _size(last)
        return last


def _size(last: Last) -> int:
    return len(last.state.data) + LAST_BYTES

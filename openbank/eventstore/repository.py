"""All aggregates of one kind: those in use and the lately used are kept in memory, up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from openbank.domain.clock import Clock
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.aggregate import Aggregate, Decide, Kind, Written
from openbank.eventstore.port import EventStore

State = TypeVar("State")


class Repository(Generic[State]):
    """`kept_max` bounds the aggregates kept in memory; one with a long memory of requests counts as several.

    An aggregate is dropped only while nothing is under way on it: there is never a second one for the same stream.
    """

    def __init__(self, store: EventStore, kind: Kind[State], clock: Clock, kept_max: int) -> None:
        self._store = store
        self._kind = kind
        self._clock = clock
        self._kept_max = kept_max
        self._kept: OrderedDict[str, Aggregate[State]] = OrderedDict()
        self._weight = 0

    async def execute(self, aggregate_id: str, decide: Decide[State], request: Request) -> Written[State]:
        """See `Aggregate.execute`."""
        return await self._aggregate(aggregate_id).execute(decide, request)

    async def load(self, aggregate_id: str) -> Versioned[State] | None:
        """See `Aggregate.load`."""
        return await self._aggregate(aggregate_id).load()

    async def find(self, aggregate_id: str, request: Request) -> Written[State] | None:
        """See `Aggregate.find`."""
        return await self._aggregate(aggregate_id).find(request)

    def _aggregate(self, aggregate_id: str) -> Aggregate[State]:
        # By stream, not by id: two ways to write an account number are one stream.
        stream = self._kind.stream(aggregate_id)
        aggregate = self._kept.get(stream)
        if aggregate is None:
            aggregate = self._kept[stream] = Aggregate(self._store, self._kind, aggregate_id, self._clock)
        else:
            self._kept.move_to_end(stream)
        self._weight += aggregate.weight - aggregate.counted
        aggregate.counted = aggregate.weight
        if self._weight > self._kept_max:
            self._drop(keep=aggregate)
        return aggregate

    def _drop(self, keep: Aggregate[State]) -> None:
        """Drops the longest unused until the rest is light enough; those at work stay, and are counted again later."""
        dropped = []
        for stream, aggregate in self._kept.items():
            if self._weight <= self._kept_max:
                break
            if aggregate.idle and aggregate is not keep:
                dropped.append(stream)
                self._weight -= aggregate.counted
        for stream in dropped:
            del self._kept[stream]

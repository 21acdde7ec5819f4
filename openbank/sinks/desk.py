"""Operators' questions and commands about sinks, at any instance.

Both work on the record. The instance that sends sees a command within half a second, or before its next page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from openbank.codec.events import is_ours
from openbank.domain.clock import Clock
from openbank.domain.errors import Refused, RevisionMismatch
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import EventStore, RecordedEvent
from openbank.eventstore.streams import split
from openbank.following.log import Log
from openbank.publishing.events import SOURCES
from openbank.sinks.address import SinkAddress
from openbank.sinks.history import last_revision
from openbank.sinks.place import LOOKS_FOR_PLACE
from openbank.sinks.port import Parked, RecordsUnavailable, SinkRecord, SinkRecords, StoredRecord

LAG_EVENTS_MAX = 1_000
"""The most events counted: the log may be long."""
PARKED_BY_OPERATOR = "parked by an operator"
TRIES_MAX = 20
"""The most attempts. Another instance is faster each time that the sender finishes a page."""


class SinkState(Enum):
    CAUGHT_UP = "CAUGHT_UP"
    SENDING = "SENDING"
    WAITING = "WAITING"


class Sink(NamedTuple):
    """The current state of a sink. `lag_events` of the log after its place are for it and not parked, counted up to
    LAG_EVENTS_MAX. The first of them was recorded `lag_microseconds` ago.
    """

    address: SinkAddress
    record: SinkRecord
    lag_events: int
    lag_microseconds: int

    @property
    def state(self) -> SinkState:
        if self.record.trouble is not None:
            return SinkState.WAITING
        return SinkState.SENDING if self.lag_events else SinkState.CAUGHT_UP


class SinkNotFound(Refused):
    reason = "SINK_NOT_FOUND"

    def __init__(self, sink: str) -> None:
        super().__init__(f"no sink of this instance has the name {sink}", sink=sink)


class AggregateNotParked(Refused):
    reason = "AGGREGATE_NOT_PARKED"

    def __init__(self, sink: str, aggregate: str) -> None:
        super().__init__(f"{aggregate} is not parked at the sink {sink}", sink=sink, aggregate=aggregate)


class AggregateNotWaiting(Refused):
    reason = "AGGREGATE_NOT_WAITING"

    def __init__(self, sink: str, aggregate: str) -> None:
        super().__init__(f"the sink {sink} has all events of {aggregate}", sink=sink, aggregate=aggregate)


class Desk:
    def __init__(
        self, addresses: Sequence[SinkAddress], log: Log, store: EventStore, records: SinkRecords, clock: Clock
    ) -> None:
        self._addresses = {address.name: address for address in addresses}
        self._log = log
        self._store = store
        self._records = records
        self._clock = clock

    async def sinks(self) -> Sequence[Sink]:
        """In the order in which they were named. Raises RecordsUnavailable, StoreUnavailable."""
        return [await self.sink(name) for name in self._addresses]

    async def sink(self, name: str) -> Sink:
        """Raises SinkNotFound; RecordsUnavailable, StoreUnavailable."""
        address = self._address(name)
        stored = await self._load(name)
        waiting = [] if _is_lost(stored.record) else await self._waiting(stored.record)
        lag = max(0, self._clock() - waiting[0].metadata.record_time) if waiting else 0
        return Sink(address, stored.record, len(waiting), lag)

    async def retry(self, name: str, aggregate: str) -> Parked:
        """Has the aggregate's events sent again, from the first that the sink does not have.

        Does nothing if they already are. Raises SinkNotFound, AggregateNotParked; RecordsUnavailable.
        """
        return await self._change(name, aggregate, lambda held: held._replace(retrying=True))

    async def retry_all(self, name: str) -> int:
        """The same for all of a sink's parked aggregates. Returns how many there are."""

        def retry_all(record: SinkRecord) -> SinkRecord:
            again = {stream: held._replace(retrying=True) for stream, held in record.parked.items()}
            return record._replace(parked=again)

        return len((await self._update(name, retry_all)).parked)

    async def skip(self, name: str, aggregate: str, expected_revision: int | None) -> Parked:
        """Leaves out the first event that the sink does not have, and has the later ones sent.

        Raises SinkNotFound, AggregateNotParked, RevisionMismatch if that event is another one; RecordsUnavailable.
        """

        def skip(held: Parked) -> Parked:
            _check(aggregate, held, expected_revision)
            return held._replace(revision=held.revision + 1, retrying=True)

        return await self._change(name, aggregate, skip)

    async def skip_all(self, name: str, aggregate: str, expected_revision: int | None) -> Parked:
        """Leaves out all of the aggregate's events that are recorded now, and has those sent that follow.

        The sink's place in the log is not the limit: the refused event may be after it. Raises as `skip` does, and
        StoreUnavailable.
        """
        self._address(name)
        _held(name, (await self._load(name)).record, aggregate)
        last = await last_revision(self._store, aggregate)

        def skip_all(held: Parked) -> Parked:
            _check(aggregate, held, expected_revision)
            return held._replace(revision=max(held.revision, last + 1), retrying=True)

        return await self._change(name, aggregate, skip_all)

    async def park(self, name: str, aggregate: str) -> Parked:
        """Holds back the aggregate's events from the first that the sink is not known to have.

        Does nothing if they already are. Raises SinkNotFound, AggregateNotWaiting; RecordsUnavailable,
        StoreUnavailable.
        """
        self._address(name)
        for _ in range(TRIES_MAX):
            stored = await self._load(name)
            held = stored.record.parked.get(aggregate)
            if held is not None and not held.retrying:
                return held
            revision = held.revision if held else await self._first_waiting(name, aggregate, stored.record)
            parked = Parked(revision, PARKED_BY_OPERATOR, self._clock())
            record = stored.record._replace(parked={**stored.record.parked, aggregate: parked})
            if await self._records.save(name, record, stored.version) is not None:
                return parked
        raise _unchanged(name)

    async def _first_waiting(self, name: str, aggregate: str, record: SinkRecord) -> int:
        """The revision of the aggregate's first event after the sink's place in the log."""
        if _is_lost(record):
            raise RecordsUnavailable(f"the place of the sink {name} in this log is not known yet")
        if split(aggregate)[0] not in SOURCES:
            raise AggregateNotWaiting(name, aggregate)
        revision = 1 + await last_revision(self._store, aggregate, record.place.position)
        if await self._store.locate(aggregate, revision) is None:
            raise AggregateNotWaiting(name, aggregate)
        return revision

    def _address(self, name: str) -> SinkAddress:
        if name not in self._addresses:
            raise SinkNotFound(name)
        return self._addresses[name]

    async def _waiting(self, record: SinkRecord) -> list[RecordedEvent]:
        try:
            read = await self._log.read(record.place, LAG_EVENTS_MAX)
        except NewerVersionNeeded:
            # This version cannot read the waiting event; the sink's trouble reports that.
            return []
        waiting = [event for event in read.events if event.stream not in record.parked and _is_published(event)]
        return waiting[:LAG_EVENTS_MAX]

    async def _change(self, name: str, aggregate: str, change: Callable[[Parked], Parked]) -> Parked:
        def changed(record: SinkRecord) -> SinkRecord:
            held = _held(name, record, aggregate)
            return record._replace(parked={**record.parked, aggregate: change(held)})

        return (await self._update(name, changed)).parked[aggregate]

    async def _update(self, name: str, change: Callable[[SinkRecord], SinkRecord]) -> SinkRecord:
        self._address(name)
        for _ in range(TRIES_MAX):
            stored = await self._load(name)
            record = change(stored.record)
            if record == stored.record or await self._records.save(name, record, stored.version) is not None:
                return record
        raise _unchanged(name)

    async def _load(self, name: str) -> StoredRecord:
        stored = await self._records.load(name)
        if stored is None:
            raise RecordsUnavailable(f"the record of the sink {name} is gone")
        return stored


def _unchanged(name: str) -> RecordsUnavailable:
    return RecordsUnavailable(f"the record of the sink {name} could not be changed")


def _is_lost(record: SinkRecord) -> bool:
    """Whether its place is not one of this log, or not known to be."""
    return record.trouble is not None and record.trouble.reason == LOOKS_FOR_PLACE


def _held(sink: str, record: SinkRecord, aggregate: str) -> Parked:
    if aggregate not in record.parked:
        raise AggregateNotParked(sink, aggregate)
    return record.parked[aggregate]


def _check(aggregate: str, held: Parked, expected_revision: int | None) -> None:
    if expected_revision not in (None, held.revision):
        raise RevisionMismatch("aggregate", aggregate, expected_revision, held.revision)


def _is_published(event: RecordedEvent) -> bool:
    return is_ours(event.type) and split(event.stream)[0] in SOURCES

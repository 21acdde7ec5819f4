"""What became of a command whose events were not appended now: a replay, a dry run, or no change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from openbank.aggregates.deciding import Known, Rehearsed, Replay, Subject
from openbank.aggregates.history import History
from openbank.aggregates.statistics import CommandStatistics
from openbank.aggregates.waiting import Written
from openbank.codec import events as codec
from openbank.domain.request import RequestKey
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import EventStore
from openbank.integrity.quarantine import Quarantine

State = TypeVar("State")


class Outcomes(Generic[State]):
    """Finds the outcomes of commands on one aggregate."""

    __slots__ = ("_history", "_quarantine", "_statistics", "_store", "_subject")

    def __init__(
        self,
        store: EventStore,
        quarantine: Quarantine,
        subject: Subject[State],
        history: History[State],
        statistics: CommandStatistics,
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._subject = subject
        self._history = history
        self._statistics = statistics

    async def known(self, request_ids: Iterable[bytes], through: int) -> Mapping[RequestKey, Known]:
        """Which of these requests are in the stream up to a revision, in events that are the bank's."""
        ids = {id for id in request_ids if id}
        if not ids or not through:
            return {}
        found = await self._store.find_requests(self._subject.stream, tuple(ids), through)
        if not found:
            return {}
        # In order, so that of a command with several events the last one stays.
        return {
            event.metadata.request_key: Known(event.metadata.request_hash, event.revision)
            for event in found
            if not self._quarantine.is_skipped(event.stream, event.revision)
        }

    async def written(self, outcome: object) -> Written[State]:
        """Raises ValueError for a command that made no event on a stream without one, and what `History.at` raises."""
        if isinstance(outcome, Written):
            return outcome
        if isinstance(outcome, Replay):
            resource, event = await self._history.at(outcome.revision)
            self._statistics.replayed += 1
            return Written(resource, event.id, event.metadata.record_time, event.place, replayed=True)
        if isinstance(outcome, Versioned):
            return await self._unchanged(outcome, outcome.revision)
        if isinstance(outcome, Rehearsed) and outcome.resource:
            return await self._unchanged(outcome.resource, outcome.seen, outcome.events)
        raise ValueError(f"a command on {self._subject.stream}, which has no event, made none")

    async def of_all(self, outcomes: Sequence[object]) -> Sequence[Written[State] | Exception]:
        """The same for each, or the exception that the command ends with."""
        return [one if isinstance(one, Written | Exception) else await self._or_refused(one) for one in outcomes]

    async def _or_refused(self, outcome: object) -> Written[State] | Exception:
        try:
            return await self.written(outcome)
        except Exception as error:
            return error

    async def replayed(self, revision: int, count: int) -> Sequence[Written[State]]:
        """The last `count` events up to `revision`, which were recorded together, each with the resource after it."""
        moments = await self._history.through(revision, count)
        place = moments[-1].event.place
        return [
            Written(resource, event.id, event.metadata.record_time, place, replayed=True) for resource, event in moments
        ]

    async def _unchanged(
        self, resource: Versioned[State], seen: int, unrecorded: Sequence[codec.DomainEvent] = ()
    ) -> Written[State]:
        """The outcome of a command of which nothing was recorded, decided at the revision `seen`."""
        # An empty stream has no event to name: the position is the head of the log.
        position = await (self._store.locate(self._subject.stream, seen) if seen else self._store.head())
        if position is None:
            raise StoreDamaged(f"{self._subject.stream} ends before revision {seen}, which it had")
        return Written(resource, b"", 0, position, replayed=False, unrecorded=unrecorded)


class NotRecorded(Exception):
    """The stream does not have this request."""


def only_replay(_: object) -> Sequence[codec.DomainEvent]:
    """Decides a command that is only to be found, where it is in the stream."""
    raise NotRecorded

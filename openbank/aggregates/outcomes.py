"""What became of a command whose events were not appended now: a replay, a dry run, or no change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from openbank.aggregates.deciding import Rehearsed, Replay, Subject
from openbank.aggregates.history import History
from openbank.aggregates.statistics import CommandStatistics
from openbank.aggregates.waiting import Written
from openbank.codec import events as codec
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import EventStore

State = TypeVar("State")


class Outcomes(Generic[State]):
    """Finds the outcomes of commands on one aggregate."""

    __slots__ = ("_history", "_statistics", "_store", "_subject")

    def __init__(
        self, store: EventStore, subject: Subject[State], history: History[State], statistics: CommandStatistics
    ) -> None:
        self._store = store
        self._subject = subject
        self._history = history
        self._statistics = statistics

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

    async def written_or_refused(self, outcome: object) -> Written[State] | Exception:
        """The same, or the exception that the command ends with."""
        if isinstance(outcome, Exception):
            return outcome
        try:
            return await self.written(outcome)
        except Exception as error:
            return error

    async def replayed(self, revision: int, count: int) -> Sequence[Written[State]]:
        """See `Aggregate.replayed`."""
        moments = await self._history.through(revision, count)
        place = moments[-1].event.place
        return [
            Written(resource, event.id, event.metadata.record_time, place, replayed=True) for resource, event in moments
        ]

    async def _unchanged(
        self, resource: Versioned[State], seen: int, unrecorded: Sequence[codec.DomainEvent] = ()
    ) -> Written[State]:
        """The outcome of a command of which nothing was recorded, decided at the revision `seen`."""
        # That a stream has no event, the log says up to its end.
        position = await (self._store.locate(self._subject.stream, seen) if seen else self._store.head())
        if position is None:
            raise StoreDamaged(f"{self._subject.stream} ends before revision {seen}, which it had")
        return Written(resource, b"", 0, position, replayed=False, unrecorded=unrecorded)

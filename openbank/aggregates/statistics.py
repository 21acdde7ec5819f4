"""What is counted of the commands of all aggregates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from openbank.eventstore.port import NewEvent


class CommandStatistics:
    __slots__ = ("conflicts", "events", "replayed", "unknown")

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """Events appended, by type."""
        self.conflicts = 0
        """Appends that found the events of another writer in their place, and were decided again."""
        self.replayed = 0
        """Requests that were answered with the events of an earlier call."""
        self.unknown = 0
        """Appends whose outcome is unknown."""

    def appended(self, events: Sequence[NewEvent]) -> None:
        for event in events:
            self.events[event.type] += 1

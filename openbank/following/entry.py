"""An event of the log, as followers of it see it."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.codec.events import is_ours
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.eventstore.quarantine_record import SetAside
from openbank.eventstore.streams import split

ENTRY_BYTES = 2_000
"""What an entry takes in memory, about, beside its payload."""


class Entry:
    """An event of the log, with what its many readers would otherwise each have to compute."""

    __slots__ = ("aside", "category", "encoded", "event", "id", "newer", "notice")

    def __init__(
        self,
        event: RecordedEvent,
        aside: SetAside | None = None,
        skipped: bool = False,
        newer: NewerVersionNeeded | None = None,
    ) -> None:
        """An event that is `aside` is not believed. A `skipped` event counts as another program's. With `newer` only a
        newer version knows it.
        """
        self.event = event
        self.aside = aside
        self.newer = newer
        self.notice = aside is not None and aside.revision == event.revision
        """Whether feeds report at this place that the aggregate is quarantined."""
        meant = self.notice or (is_ours(event.type) and not aside and not skipped)
        self.category, self.id = split(event.stream) if meant else ("", "")
        """The stream's category and the id behind it; empty for an event that is not the bank's."""
        self.encoded: dict[object, bytes] = {}
        """For feeds: the encoded event, in each form that a watch has needed so far."""

    @property
    def position(self) -> int:
        return self.event.position

    @property
    def ends_append(self) -> bool:
        return self.event.metadata.part + 1 >= self.event.metadata.parts


def place_after(entries: Sequence[Entry], after: LogPosition) -> LogPosition:
    """The place after the last of `entries`, named by the last one that is the bank's."""
    named = next((entry.event.place for entry in reversed(entries) if entry.category), after)
    return named._replace(position=entries[-1].position)

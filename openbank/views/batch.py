"""What a stretch of the log changes in the views, to be written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.codec.events import is_ours, place_after
from openbank.eventstore.port import LogPosition, LogSlice, RecordedEvent
from openbank.integrity.checking import Checked
from openbank.views import projections
from openbank.views.changes import Change, MinuteReached
from openbank.views.port import MINUTE_MICROSECONDS


class Batch:
    """What consecutive events change, up to `through`."""

    def __init__(self, after: LogPosition, minute: int) -> None:
        self.through = after
        self.minute = minute
        """The last minute that was reached up to there."""
        self.changes: list[Change] = []
        self.left_out: dict[str, int] = {}
        """By stream, the first revision that is not believed."""
        self.events = 0
        self.skipped = 0

    def add(self, read: LogSlice, checked: Sequence[Checked]) -> None:
        """What comes next, as it was read, and the same checked."""
        for one in checked:
            self.changes += changes_of(one)
            if one.aside:
                self.left_out.setdefault(one.event.stream, one.event.revision)
        for event, _ in read.aside:
            self.left_out.setdefault(event.stream, event.revision)
        self._note_minutes([one.event for one in checked if not (one.aside or one.skipped)])
        self.events += len(checked) + len(read.aside)
        self.skipped += sum([not is_ours(one.event.type) for one in checked if one.happened is None])
        self.through = read.through

    def _note_minutes(self, events: Sequence[RecordedEvent]) -> None:
        for number, event in enumerate(events):
            minute = event.metadata.record_time // MINUTE_MICROSECONDS
            if minute > self.minute and is_ours(event.type):
                self.changes.append(MinuteReached(minute, place_after(events[:number], self.through)))
                self.minute = minute


def changes_of(checked: Checked) -> Sequence[Change]:
    """Nothing for what is not believed, and for the events of other programs."""
    happened = checked.happened
    return () if happened is None else projections.project(checked.event, happened)

"""What one message of a watch holds: events that pass its filter, up to the size of a message."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.known import known, needed_by
from openbank.eventstore.port import LogPosition
from openbank.feeds.filter import Filter, Form
from openbank.feeds.limits import FeedLimits
from openbank.following.entry import Entry

Encode = Callable[[Entry, Form], bytes]


class Parcel:
    """The events of one message, and where a watch is once it has them."""

    __slots__ = ("entries", "kept", "newer", "record_time", "through")

    def __init__(
        self,
        entries: Sequence[Entry],
        through: LogPosition,
        record_time: int,
        newer: NewerVersionNeeded | None = None,
    ) -> None:
        self.entries = entries
        self.newer = newer
        """If set, the watch cannot continue, and there is nothing to send."""
        self.through = through
        self.record_time = record_time
        """The record time of the last event up to `through`, whether or not it passed the filter."""
        self.kept: dict[object, tuple[bytes, int]] = {}
        """What watches that send it keep for each other: see `FeedMessage`."""


class Cutter:
    """Cuts entries of the log into messages, between appends. Each event is encoded once for all watches."""

    def __init__(self, encode: Encode, limits: FeedLimits) -> None:
        self._encode = encode
        self._limits = limits

    def cut(self, entries: Sequence[Entry], through: LogPosition, filter: Filter) -> Sequence[Parcel]:
        """The messages for the events of `entries` that pass the filter. The last one ends at `through`."""
        passed = filter.select(entries)
        if not passed:
            return ()
        before = known(passed)
        if len(before) == len(passed):
            return self._cut_all(entries, passed, through, filter)
        end = Parcel((), through, 0, needed_by(passed))
        if not before:
            return (end,)
        last = before[-1].event.place
        return (*self._cut_all(_through(entries, last.position), before, last, filter), end)

    def _cut_all(
        self, entries: Sequence[Entry], passed: Sequence[Entry], through: LogPosition, filter: Filter
    ) -> Sequence[Parcel]:
        """`passed` are those of `entries` that pass the filter; the last parcel ends at `through`."""
        if self._fits(len(passed), self._encoded_bytes(passed, filter.form)):
            return (Parcel(passed, through, record_time_of(entries)),)
        return self._cut_between_appends(entries, through, filter)

    def _cut_between_appends(self, entries: Sequence[Entry], through: LogPosition, filter: Filter) -> Sequence[Parcel]:
        parcels: list[Parcel] = []
        chosen: list[Entry] = []
        size = 0
        last: Sequence[Entry] = ()
        for append in _appends(entries):
            passed = filter.select(append)
            if not passed:
                continue
            more = self._encoded_bytes(passed, filter.form)
            if chosen and not self._fits(len(chosen) + len(passed), size + more):
                parcels.append(Parcel(chosen, last[-1].event.place, record_time_of(last)))
                chosen, size = [], 0
            chosen += passed
            size += more
            last = append
        parcels.append(Parcel(chosen, through, record_time_of(entries)))
        return parcels

    def _fits(self, events: int, size: int) -> bool:
        return events <= self._limits.message_events_max and size <= self._limits.message_bytes_max

    def _encoded_bytes(self, entries: Sequence[Entry], form: Form) -> int:
        size = 0
        for entry in entries:
            encoded = entry.encoded.get(form)
            if encoded is None:
                encoded = entry.encoded[form] = self._encode(entry, form)
            size += len(encoded)
        return size


def record_time_of(entries: Sequence[Entry]) -> int:
    return entries[-1].event.metadata.record_time


def _through(entries: Sequence[Entry], position: int) -> Sequence[Entry]:
    return entries[: bisect_right(entries, position, key=lambda entry: entry.position)]


def _appends(entries: Sequence[Entry]) -> Iterable[Sequence[Entry]]:
    """The entries of each append, one after another."""
    append: list[Entry] = []
    for entry in entries:
        append.append(entry)
        if entry.ends_append:
            yield append
            append = []
    if append:
        yield append

"""Copies a bank's whole log from one store into another: each event unchanged, in the order of the log.

The target always holds a beginning of the source's log. So an interrupted copy needs no state of its own: what is there
is compared, what is missing is appended and read back. Appends are made one after another: the order of two concurrent
appends is not defined, and feeds and their tokens depend on the order of the log.

Payloads are kept byte for byte, with whatever this version does not know, if both stores have one format. From binary
to JSON, what JSON would lose stays binary. From JSON to binary, what binary would lose is refused: nothing is dropped,
except from events that are quarantined for another reason, or skipped.

Events of other programs mean nothing, but have revisions. They are copied where one of the bank's follows them in its
stream, right before that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from openbank.codec import events as codec
from openbank.codec.events import UndecodableEvent, UnknownEventType, is_ours
from openbank.eventstore.errors import StreamDamaged, WrongExpectedRevision
from openbank.eventstore.extensions import KeepsPayloads
from openbank.eventstore.port import (
    BEGINNING,
    NO_STREAM,
    EventStore,
    NewEvent,
    RecordedEvent,
    StoredPayload,
)
from openbank.eventstore.quarantine_record import QuarantineRecord, decode_record, encode_record
from openbank.integrity.trail import UNKNOWN_TYPE
from openbank.upkeep.batches import batches, ends_command

PAGE = 1_000


class CopyRefused(Exception):
    """The target is not a copy of the source, and cannot become one. Events that the source does not have stay
    untouched."""


class Copied(NamedTuple):
    """The progress of a copy. Everything up to there is in the target, and was read back from it."""

    events: int = 0
    appended: int = 0
    """The number of events that the target did not have before."""
    part: float = 0.0
    """The fraction of the source's log as of the start; 1 for all of it."""


async def copy_log(source: EventStore, target: EventStore, progress: Callable[[Copied], None]) -> Copied:
    """Makes the target a copy of the source, with its quarantine.

    The target must have been made for the source's bank. Of a source that is written to meanwhile the copy has all
    events up to some place, and no other. Raises CopyRefused, and what stores raise. The same call then continues where
    it stopped.
    """
    if source.bank_id != target.bank_id:
        raise CopyRefused(f"the target belongs to the bank {target.bank_id}, not to {source.bank_id}")
    if source.store_id == target.store_id:
        raise CopyRefused("source and target are the same store")
    end = (await source.head()).position
    here, there = _Reading(source), _Reading(target)
    convert = _kept if isinstance(target, KeepsPayloads) else _InBinary(await _quarantine(source))
    copied = Copied()
    while events := [convert(event) for event in await here.next(PAGE)]:
        appended = await _bring(events, source, target, there)
        copied = Copied(copied.events + len(events), copied.appended + appended, min(1.0, events[-1].position / end))
        progress(copied)
    more = await there.next(1)
    if more:
        raise CopyRefused(f"the target has {_name(more[0])}, which the source does not have")
    await _copy_quarantine(source, target)
    return copied


async def _quarantine(store: EventStore) -> QuarantineRecord:
    return decode_record((await store.quarantine()).data)


async def _copy_quarantine(source: EventStore, target: EventStore) -> None:
    """Copies the quarantine, with the target's positions.

    Only events that the target has are marked as skipped: a missing revision may become one of its own.
    """
    record, kept = await _quarantine(source), await target.quarantine()
    aside = {}
    for stream, held in record.aside.items():
        here = await target.locate(stream, held.revision) or await target.head()
        aside[stream] = held._replace(position=here.position)
    skipped = {}
    for stream, revisions in record.skipped.items():
        if there := frozenset([one for one in revisions if await target.locate(stream, one)]):
            skipped[stream] = there
    wanted = QuarantineRecord(aside, skipped)
    if decode_record(kept.data) == wanted:
        return
    if await target.save_quarantine(encode_record(wanted), kept.version) is None:
        raise CopyRefused("the target's quarantine is being changed by another process: stop what is served from it")


class _Reading:
    """A store's log from the beginning, without the events of other programs."""

    def __init__(self, store: EventStore) -> None:
        self._read_log = store.read_log_as_stored if isinstance(store, KeepsPayloads) else store.read_log
        self._through = BEGINNING
        self._read: list[RecordedEvent] = []
        """Events that are read and not yet taken."""

    async def next(self, count: int) -> Sequence[RecordedEvent]:
        """The next events: as many as these, and the rest of the last one's command; fewer where the log ends."""
        while len(self._read) < count:
            page = await self._read_log(self._through, PAGE)
            self._read += [event for event in page.events if is_ours(event.type)]
            self._through = page.through
            if page.caught_up:
                break
        while count < len(self._read) and not ends_command(self._read[count - 1]):
            count += 1
        taken, self._read = self._read[:count], self._read[count:]
        return taken


def _kept(event: RecordedEvent) -> RecordedEvent:
    """The event for a target with its own format."""
    if isinstance(event.data, StoredPayload) or codec.is_whole_as_json(event.type, event.data):
        return event
    return event._replace(data=StoredPayload.of(event.data, is_json=False))


class _InBinary:
    """Converts events for a target that stores binary only."""

    def __init__(self, quarantine: QuarantineRecord) -> None:
        self._quarantine = quarantine

    def __call__(self, event: RecordedEvent) -> RecordedEvent:
        """Raises CopyRefused if the conversion would lose something. Of events that are not believed, the bytes are
        kept."""
        data = event.data
        if not isinstance(data, StoredPayload):
            return event
        believed = not self._is_disbelieved(event)
        if data.says_more and believed:
            raise CopyRefused(_loses(event, "metadata"))
        try:
            return event._replace(data=_binary(event))
        except (UndecodableEvent, UnknownEventType):
            if believed:
                raise CopyRefused(_loses(event, "a payload")) from None
            return event._replace(data=bytes(data))

    def _is_disbelieved(self, event: RecordedEvent) -> bool:
        """Another version may believe an event whose type it knows."""
        aside = self._quarantine.aside.get(event.stream)
        if aside and event.revision >= aside.revision:
            return aside.reason != UNKNOWN_TYPE
        return event.revision in self._quarantine.skipped.get(event.stream, ())


def _loses(event: RecordedEvent, what: str) -> str:
    return (
        f"the source's {_name(event)} has {what} that this version does not know and the target could not keep:"
        " copy with the version that wrote it, or to EventStoreDB"
    )


async def _bring(events: Sequence[RecordedEvent], source: EventStore, target: EventStore, there: _Reading) -> int:
    """Adds these events to the target as far as they are missing. Returns how many were missing."""
    stored = await there.next(len(events))
    _compare(events, stored)
    if len(stored) >= len(events):
        return 0
    missing = events[len(stored) :]
    for batch in batches(missing):
        await _append(source, target, batch)
    stored = await there.next(len(missing))
    _compare(missing, stored)
    if len(stored) < len(missing):
        raise CopyRefused(f"{_name(missing[len(stored)])} was appended to the target, which does not have it")
    return len(missing)


async def _append(source: EventStore, target: EventStore, batch: Sequence[RecordedEvent]) -> None:
    try:
        await _append_to(target, batch)
    except WrongExpectedRevision:
        try:
            await _fill(source, target, batch[0])
            await _append_to(target, batch)
        except WrongExpectedRevision as error:
            raise CopyRefused(_does_not_fit(batch[0])) from error


async def _append_to(target: EventStore, batch: Sequence[RecordedEvent]) -> None:
    new = [NewEvent(*event[3:]) for event in batch]
    await target.append(batch[0].stream, batch[0].revision - 1, new)


async def _fill(source: EventStore, target: EventStore, before: RecordedEvent) -> None:
    """Appends the events of other programs that the source has in the stream right before an event of the bank's.

    Raises CopyRefused, which says which side has what makes that event not fit.
    """
    stream, through = before.stream, before.revision - 1
    last = await target.read_end(stream, 1)
    have = last[0].revision if last else NO_STREAM
    if have >= through:
        raise CopyRefused(_does_not_fit(before))
    while have < through:
        lost = (
            f"the source's stream {stream} has no event with revision {have + 1} any more: it was truncated or deleted"
        )
        try:
            events = await _read_stream(source, stream, have, min(PAGE, through - have))
        except StreamDamaged as error:
            raise CopyRefused(lost) from error
        if not events or events[0].revision != have + 1:
            raise CopyRefused(lost)
        for batch in batches(events):
            if any(is_ours(event.type) for event in batch):
                raise CopyRefused(
                    f"the target's stream {stream} ends at revision {have}: was it deleted, or truncated?"
                )
            await _append_to(target, batch)
            have = batch[-1].revision


async def _read_stream(store: EventStore, stream: str, after: int, limit: int) -> Sequence[RecordedEvent]:
    if isinstance(store, KeepsPayloads):
        return await store.read_stream_as_stored(stream, after, limit)
    return await store.read_stream(stream, after, limit)


def _does_not_fit(event: RecordedEvent) -> str:
    return (
        f"{_name(event)} does not fit the target: its stream {event.stream} has other events there, or is being"
        " written to"
    )


def _compare(events: Sequence[RecordedEvent], stored: Sequence[RecordedEvent]) -> None:
    """Checks that the target continues with these events; it may have fewer. Positions are not compared."""
    for event, other in zip(events, stored, strict=False):
        if event[1:4] != other[1:4]:
            raise CopyRefused(f"where the source has {_name(event)}, the target has {_name(other)}")
        same = {
            "type": event.type == other.type,
            "data": _is_same_payload(event, other),
            "metadata": event.metadata == other.metadata and _raw_metadata(event) == _raw_metadata(other),
        }
        if not all(same.values()):
            fields = [name for name, is_same in same.items() if not is_same]
            raise CopyRefused(f"{_name(event)} is not the same in the target: {' and '.join(fields)} differ")


def _is_same_payload(event: RecordedEvent, other: RecordedEvent) -> bool:
    """Compares byte for byte or, if the formats differ, by content."""
    if event.data == other.data:
        return True
    try:
        return _binary(event) == _binary(other)
    except (UndecodableEvent, UnknownEventType):
        return False


def _binary(event: RecordedEvent) -> bytes:
    """Raises UndecodableEvent and UnknownEventType for JSON with more than this version knows."""
    data = event.data
    is_json = isinstance(data, StoredPayload) and data.is_json
    return codec.from_whole_json(event.type, data) if is_json else bytes(data)


def _raw_metadata(event: RecordedEvent) -> bytes | None:
    return event.data.metadata if isinstance(event.data, StoredPayload) else None


def _name(event: RecordedEvent) -> str:
    return f"revision {event.revision} of {event.stream} ({event.type}, {event.id.hex()})"

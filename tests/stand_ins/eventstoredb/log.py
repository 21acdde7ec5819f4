"""The log of events, and what EventStoreDB's writer and reader make of it. No gRPC here.

Everything is kept: the real server hides events of deleted and truncated streams too, and only scavenging removes them.
"""

import bisect
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tests.stand_ins.eventstoredb.wakeup import WakeUp

NO_STREAM, ANY, STREAM_EXISTS = -1, -2, -4
# The revision of a tombstone, and the `$tb` that marks a stream as soft-deleted.
DELETED = 2**63 - 1
# The number of a write without events: it takes room in the log and is never read.
NO_EVENT = -1
RECORD_OVERHEAD = 90
# What the real server spends on remembering ids for ANY and EXISTS.
REMEMBERED_BYTES = 8 << 20


class Proposed(NamedTuple):
    id: str
    type: str
    is_json: bool
    data: bytes
    metadata: bytes

    @property
    def size(self) -> int:
        return len(self.data) + len(self.metadata) + 2 * len(self.type)


class Record(NamedTuple):
    position: int
    stream: str
    number: int
    id: str
    type: str
    is_json: bool
    created: int  # 100 ns since 1970, as the wire has it
    data: bytes
    metadata: bytes

    @property
    def end(self) -> int:
        """Where the next record begins. Positions are not dense, like those of the real log."""
        text = len(self.stream) + len(self.type)
        return self.position + RECORD_OVERHEAD + text + len(self.data) + len(self.metadata)


class Appended(NamedTuple):
    revision: int  # NO_STREAM when a write without events left the stream missing
    position: int | None  # None when the events were known already, and are not readable any more


class WrongExpectedVersion(Exception):
    def __init__(self, current: int) -> None:
        self.current = current


class StreamDeleted(Exception):
    pass


class StreamNotFound(Exception):
    pass


class InvalidPosition(Exception):
    pass


class NotCommitted(Exception):
    """The same append again, before the first is committed: it is dropped without an answer."""


class Store(Protocol):
    def load(self) -> Iterable[Record]: ...
    def save(self, records: Sequence[Record]) -> None: ...
    def drop(self, position: int) -> None: ...
    def close(self) -> None: ...


class Copy:
    """What a log held at some moment: a backup of it."""

    def __init__(self, log: "Log", records: int | None = None) -> None:
        """`records` is how many of its first ones there are, all by default."""
        self._records = log.records[:records]

    def load(self) -> Iterable[Record]:
        return self._records

    def save(self, records: Sequence[Record]) -> None:
        pass

    def drop(self, position: int) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stream's metadata hides of it."""

    max_count: int | None = None
    max_age: int | None = None
    truncate_before: int = 0


NO_LIMITS = Limits()
METADATA_LIMITS = Limits(max_count=1)


def limits_of(metadata: Record) -> Limits:
    if not metadata.is_json:
        return NO_LIMITS
    try:
        parsed = json.loads(metadata.data)
    except ValueError:
        return NO_LIMITS
    if not isinstance(parsed, dict):
        return NO_LIMITS
    count, age, before = (parsed.get(key) for key in ("$maxCount", "$maxAge", "$tb"))
    values = [value for value in (count, age, before) if value is not None]
    if any(type(value) is not int or value < 0 for value in values) or count == 0 or age == 0:
        return NO_LIMITS  # one wrong value spoils them all, as on the real server
    return Limits(count, age, before or 0)


class RememberedIds:
    """By event id alone, the first stream and number it was written to; bounded, so the oldest are forgotten."""

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        self.limit = limit
        self._size = 0
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def put(self, record: Record) -> None:
        if record.id in self._known:
            return
        self._known[record.id] = (record.stream, record.number)
        self._size += self._cost(record.stream)
        while self._size > self.limit:
            _, (stream, _) = self._known.popitem(last=False)
            self._size -= self._cost(stream)

    def number(self, event_id: str, stream: str) -> int | None:
        known = self._known.get(event_id)
        return known[1] if known and known[0] == stream else None

    def remove(self, event_id: str) -> None:
        if known := self._known.pop(event_id, None):
            self._size -= self._cost(known[0])

    def forget(self) -> None:
        self._known.clear()
        self._size = 0

    @staticmethod
    def _cost(stream: str) -> int:
        return 28 + 2 * len(stream)


class Stream:
    __slots__ = ("limits", "records", "tombstone")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.tombstone: Record | None = None
        self.limits = NO_LIMITS


class Log:
    def __init__(self, store: Store | None = None) -> None:
        self.records: list[Record] = []
        self.streams: dict[str, Stream] = {}
        self.remembered = RememberedIds()
        self.changed = WakeUp()
        self.head = 0
        self.committed = 0
        """Readers see what lies before this position."""
        self.scavenges = 0
        self.drops = 0
        """How often what was not committed has been dropped."""
        self._positions: list[int] = []
        self._gaps: set[int] = set()
        self._store = store
        for record in store.load() if store else ():
            self._add(record)  # remembers no ids: the real server has forgotten them after a restart
        self.committed = self.head
        if not self.head:
            self._begin()

    def _begin(self) -> None:
        """A new server is not quite empty: programs that read all of the log must expect its own events."""
        self.append("$epoch-information", NO_STREAM, [system_event("$epoch-information", b'{"EpochNumber":0}')])
        self.append("$persistentSubscriptionConfig", NO_STREAM, [system_event("PersistentConfig1", b"{}")])

    # Writing

    def append(
        self,
        name: str,
        expected: int,
        events: Sequence[Proposed],
        *,
        remembering: bool = True,
        committing: bool = True,
    ) -> Appended:
        """Without `committing` the events count for writers, and readers do not see them before `commit`."""
        known = self._check(name, expected, [event.id for event in events], remembering)
        if known:
            return known
        current = self._version_for_writer(name)
        revived = original_of(name) if is_metadata(name) else name
        hidden = self._version_for_writer(revived) + 1 if self.is_soft_deleted(revived) else None
        written = self._write(name, current + 1, events) if events else self._write(name, NO_EVENT, [NOTHING])
        answer = Appended(current + len(events), written[-1].position)
        if hidden is not None:
            written += self._undelete(revived, hidden)
        self._finish(written, committing=committing)
        return answer

    def commit(self, end: int) -> None:
        """In the order of the log: what lies before `end` is readable."""
        self.committed = max(self.committed, end)
        self.changed.set()

    def drop_uncommitted(self) -> None:
        """What a leader has written is gone where it was deposed before the others had it."""
        self.drops += 1
        dropped = self.records[self.readable :]
        for record in reversed(dropped):
            self._remove(record)
        self.records = self.records[: len(self.records) - len(dropped)]
        self._positions = self._positions[: len(self.records)]
        self._gaps = {position for position in self._gaps if position < self.committed}
        self.head = self.committed
        if self._store:
            self._store.drop(self.committed)

    def _remove(self, record: Record) -> None:
        self.remembered.remove(record.id)
        stream = self.streams[record.stream]
        if record.number == DELETED:
            stream.tombstone = None
        else:
            stream.records.pop()
        if is_metadata(record.stream):
            original = self._stream(original_of(record.stream))
            original.limits = limits_of(stream.records[-1]) if stream.records else NO_LIMITS

    def delete(self, name: str, expected: int) -> int:
        """Soft: hide all that is there now."""
        event = system_event("$metadata", b'{"$tb":%d}' % DELETED)
        self._check(name, expected, [event.id])
        metadata = metadata_of(name)
        version = self._version_for_writer(metadata)
        if self._version_for_writer(name) < 0 and version < 0:
            raise WrongExpectedVersion(NO_STREAM)
        if version == DELETED:
            raise StreamDeleted
        written = self._write(metadata, version + 1, [event])
        self._finish(written)
        return written[0].position

    def tombstone(self, name: str, expected: int) -> int:
        event = system_event("$streamDeleted", b"", is_json=False)
        self._check(name, expected, [event.id])
        written = self._write(name, DELETED, [event])
        self._finish(written)
        return written[0].position

    def _check(self, name: str, expected: int, ids: list[str], remembering: bool = True) -> Appended | None:
        """None if the writer takes these events, its answer of old if it has them, else a refusal."""
        current = self._version_for_writer(name)
        if current == DELETED:
            raise StreamDeleted
        if expected == STREAM_EXISTS:
            if self.is_soft_deleted(name):
                raise StreamDeleted
            if current < 0 and self._version_for_writer(metadata_of(name)) < 0:
                raise WrongExpectedVersion(current)
        if expected in (ANY, STREAM_EXISTS):
            return self._known_by_id(name, current, ids) if remembering else None
        if expected < current:
            return self._known_by_number(name, current, expected, ids)
        if expected > current:
            raise WrongExpectedVersion(current)
        return None

    def _known_by_id(self, name: str, current: int, ids: list[str]) -> Appended | None:
        """Without an expected version only the bounded memory of ids can tell a repeat."""
        numbers = [self.remembered.number(event_id, name) for event_id in ids]
        if not numbers or numbers[0] is None:
            return None
        if None in numbers:
            raise WrongExpectedVersion(current)
        return self._answer_of_old(name, numbers[-1] or 0)

    def _known_by_number(self, name: str, current: int, expected: int, ids: list[str]) -> Appended | None:
        """Always exact: the events after the expected version are these very ones, or they are not."""
        stream = self.streams[name]
        stored = [record.id for record in stream.records[expected + 1 : expected + 1 + len(ids)]]
        if ids and stored == ids:
            return self._answer_of_old(name, expected + len(ids))
        if ids and expected == NO_STREAM and stored[0] != ids[0] and self.is_soft_deleted(name):
            return None
        raise WrongExpectedVersion(current)

    def _answer_of_old(self, name: str, number: int) -> Appended:
        if self.streams[name].records[number].position >= self.committed:
            raise NotCommitted
        try:
            readable = number >= self.first_readable(name)
        except (StreamNotFound, StreamDeleted):
            readable = False
        return Appended(number, self.streams[name].records[number].position if readable else None)

    def _undelete(self, name: str, hidden: int) -> list[Record]:
        """What the real server adds: the stream's metadata again, hiding only what was there when it was deleted."""
        latest = self.streams[metadata_of(name)].records[-1]
        try:
            metadata = json.loads(latest.data)
        except ValueError:
            return []
        if not isinstance(metadata, dict):
            return []
        metadata["$tb"] = hidden
        event = system_event("$metadata", json.dumps(metadata, separators=(",", ":")).encode())
        return self._write(latest.stream, latest.number + 1, [event])

    def _write(self, name: str, first: int, events: Sequence[Proposed]) -> list[Record]:
        created = time.time_ns() // 100
        written = []
        for number, event in enumerate(events, first):
            event_id, event_type, is_json, data, metadata = event
            record = Record(self.head, name, number, event_id, event_type, is_json, created, data, metadata)
            self._add(record)
            written.append(record)
        return written

    async def until_committed(self, end: int) -> None:
        while self.committed < end:
            await self.changed.wait()

    def _finish(self, written: list[Record], *, committing: bool = True) -> None:
        """All that one call wrote is kept, or nothing of it."""
        if self._store:
            self._store.save(written)
        for record in written:
            if record.number != NO_EVENT:
                self.remembered.put(record)
        if committing:
            self.commit(self.head)

    def _add(self, record: Record) -> None:
        self.head = record.end
        if record.number == NO_EVENT:
            self._gaps.add(record.position)
            return
        self.records.append(record)
        self._positions.append(record.position)
        stream = self._stream(record.stream)
        if record.number == DELETED:
            stream.tombstone = record
            stream.limits = NO_LIMITS
        else:
            stream.records.append(record)
        if is_metadata(record.stream):
            original = self._stream(original_of(record.stream))
            original.limits = NO_LIMITS if stream.tombstone or original.tombstone else limits_of(record)

    def _stream(self, name: str) -> Stream:
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = Stream()
        return stream

    def scavenge(self) -> int:
        """Removes what readers of its stream do not get any more, as the real server's tool does; how many it was."""
        hidden = {record.position for record in self.records if self._is_hidden(record)}
        self.records = [record for record in self.records if record.position not in hidden]
        self._positions = [record.position for record in self.records]
        self.scavenges += 1
        return len(hidden)

    def index_after(self, position: int) -> int:
        """The index of the first record after any position."""
        return bisect.bisect_right(self._positions, position)

    def _is_hidden(self, record: Record) -> bool:
        try:
            return record.number < self.first_readable(record.stream)
        except StreamDeleted:
            return record.number != DELETED
        except StreamNotFound:
            return True

    # Looking

    def _version_for_writer(self, name: str) -> int:
        """The writer still takes more metadata of a tombstoned stream, if it has any."""
        stream = self.streams.get(name)
        if stream and stream.tombstone:
            return DELETED
        if stream and stream.records:
            return len(stream.records) - 1
        return DELETED if is_metadata(name) and self.tombstone_of(original_of(name)) else NO_STREAM

    def is_soft_deleted(self, name: str) -> bool:
        stream = self.streams.get(name)
        return stream is not None and not is_metadata(name) and stream.limits.truncate_before == DELETED

    def tombstone_of(self, name: str) -> Record | None:
        stream = self.streams.get(name)
        if stream and stream.tombstone:
            return stream.tombstone
        return self.tombstone_of(original_of(name)) if is_metadata(name) else None

    def length(self, name: str) -> int:
        """How many events of a stream are committed, hidden ones among them."""
        stream = self.streams.get(name)
        count = len(stream.records) if stream else 0
        while stream and count and stream.records[count - 1].position >= self.committed:
            count -= 1
        return count

    @property
    def readable(self) -> int:
        """How many of `records` are committed."""
        return bisect.bisect_left(self._positions, self.committed)

    def first_readable(self, name: str) -> int:
        """The first revision that a reader gets; past the last one if all is hidden but the stream exists."""
        if self.tombstone_of(name):
            raise StreamDeleted
        stream = self.streams.get(name)
        if not stream or not self.length(name) or self.is_soft_deleted(name):
            raise StreamNotFound
        limits = METADATA_LIMITS if is_metadata(name) else stream.limits
        first = limits.truncate_before
        if limits.max_count:
            first = max(first, len(stream.records) - limits.max_count)
        if limits.max_age:
            oldest = time.time_ns() // 100 - limits.max_age * 10_000_000
            first = max(first, bisect.bisect_left(stream.records, oldest, key=lambda record: record.created))
        return first

    def read_stream(self, name: str, start: int | None, count: int, *, backwards: bool) -> Iterator[Record]:
        first = self.first_readable(name)
        records, length = self.streams[name].records, self.length(name)
        if backwards:
            last = length - 1 if start is None else min(start, length - 1)
            return iter(records[max(first, last + 1 - count) : last + 1][::-1])
        begin = max(first, start or 0)
        return iter(records[begin : min(begin + count, length)])

    def read_all(self, position: int | None, *, backwards: bool) -> Iterator[Record]:
        """Forwards the record at the position is the first, backwards the one before it."""
        if backwards:
            if position is not None and position > self.head:
                raise InvalidPosition
            index = self.readable if position is None else min(self.index_of(position), self.readable)
            return (self.records[i] for i in range(index - 1, -1, -1))
        index = 0 if position is None else self.index_of(position)
        return (self.records[i] for i in range(index, self.readable))

    def index_of(self, position: int) -> int:
        """The index of the first record at or after a position where a record begins, or past the end."""
        index = bisect.bisect_left(self._positions, position)
        found = index < len(self._positions) and self._positions[index] == position
        if not found and position < self.head and position not in self._gaps:
            raise InvalidPosition
        return index


def is_metadata(name: str) -> bool:
    return name.startswith("$$")


def metadata_of(name: str) -> str:
    return "$$" + name


def original_of(metadata: str) -> str:
    return metadata[2:]


def system_event(event_type: str, data: bytes, *, is_json: bool = True) -> Proposed:
    return Proposed(str(uuid.uuid4()), event_type, is_json, data, b"")


NOTHING = Proposed("", "", False, b"", b"")

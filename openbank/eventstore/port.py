"""The event store as the bank sees it: the guarantees of every adapter.

One conformance suite, `tests/eventstore/conformance.py`, checks each adapter against them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from typing import NamedTuple, Protocol

from openbank.domain.request import RequestKey

NO_STREAM = 0
"""The revision of a stream that has no event: the first event of a stream has revision 1."""
APPEND_BYTES_MAX = 1 << 20
"""The most bytes that all events of one append may have together. EventStoreDB's limit, which every adapter keeps."""
SNAPSHOT_EVENTS = 16
"""Events between two snapshots of an aggregate. Reading 16 events takes about a third of the time of a deposit."""
RECORD_TIME_MAX = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
PARTS_MAX = 1_000
"""The most events of one command: far more than any command makes."""


class Metadata(NamedTuple):
    """What is stored with an event beside its payload.

    `record_time` is the bank's time, in microseconds since 1970 UTC. It may be earlier than that of an earlier event of
    another stream, and in events of earlier versions also of the same stream. `request_id` (16 bytes) and
    `request_hash` are empty for a command without a request id. An id without a hash was made by the bank itself.
    `owner_id` is the account's owner, empty on other streams. `actor` names the caller, where callers were known. The
    event is part `part` (from 0) of its command's `parts` events, which readers never see apart.
    """

    record_time: int
    request_id: bytes = b""
    request_hash: bytes = b""
    correlation_id: str = ""
    causation_id: str = ""
    owner_id: str = ""
    part: int = 0
    parts: int = 1
    actor: str = ""

    @property
    def request_key(self) -> RequestKey:
        """The key by which the event's request is remembered."""
        return RequestKey.of(self.request_id, self.request_hash)

    @property
    def has_place(self) -> bool:
        """Whether the bank can have written `part` and `parts`."""
        return 0 <= self.part < self.parts <= PARTS_MAX


class NewEvent(NamedTuple):
    """An event to append: its id (16 bytes of a UUID), its stored type, and its payload as binary protobuf."""

    id: bytes
    type: str
    data: bytes
    metadata: Metadata


class RecordedEvent(NamedTuple):
    """An event of the log. `position` orders the whole log, `revision` (from 1, without a gap) its stream."""

    position: int
    stream: str
    revision: int
    id: bytes
    type: str
    data: bytes
    metadata: Metadata

    @property
    def place(self) -> LogPosition:
        """The log up to this event."""
        return LogPosition(self.position, self.stream, self.revision)


class LogPosition(NamedTuple):
    """All of the log up to `position`, and the last of the bank's events up to there.

    The stream and revision let a copy of the log in another store, where positions differ, find the same place.
    """

    position: int
    stream: str = ""
    revision: int = NO_STREAM


BEGINNING = LogPosition(0)
"""Before the first event."""


class Aside(NamedTuple):
    """An event that is not believed, and why."""

    event: RecordedEvent
    reason: str


class LogSlice(NamedTuple):
    """Consecutive events of the log, and how far it has been read: at least to the last of them.

    A store may skip events of other programs, so `through` may be ahead of the last event.
    """

    events: Sequence[RecordedEvent]
    through: LogPosition
    caught_up: bool = False
    """Whether nothing follows, as of the store's answer."""
    aside: Sequence[Aside] = ()
    """In a checked log: the events that are not believed. `events` leaves them out."""


class StoredPayload(bytes):
    """A payload exactly as it is stored, with its metadata if the event's `Metadata` does not hold all of it."""

    is_json = False
    metadata: bytes | None = None
    says_more = False
    """Whether `metadata` holds what `Metadata` does not."""

    @classmethod
    def of(cls, data: bytes, *, is_json: bool, metadata: bytes | None = None, says_more: bool = False) -> StoredPayload:
        payload = cls(data)
        payload.is_json, payload.metadata, payload.says_more = is_json, metadata, says_more
        return payload


class Snapshot(NamedTuple):
    """The state of an aggregate right after the event with this revision and id, encoded."""

    revision: int
    event_id: bytes
    data: bytes


class Newest(NamedTuple):
    """Consecutive events of a stream, and the newest snapshot up to the last one unless they begin with the first."""

    events: Sequence[RecordedEvent]
    snapshot: Snapshot | None = None


class KeptRecord(NamedTuple):
    """A small record that the store keeps beside the log, and its version, which every change raises; 0 without a
    record."""

    data: bytes = b""
    version: int = 0


def show_uuid(id: bytes) -> str:
    """The UUID in lower case with hyphens; empty for no id. A UUID object would take four times as long, for every
    event."""
    if not id:
        return ""
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class EventStore(Protocol):
    """An append-only log of streams.

    Durable: an append returns only after its events would survive a crash of the process and of the machine.
    Atomic: all events of an append are in the log, next to one another, or none is.
    Exact: an append is made only at `expected_revision`; of many at once, exactly one is. The same events (by id) at
    the same expected revision again is the same append: it succeeds, and nothing is written twice.
    Visible: what was acknowledged is read by every later read, and nothing is read that is not durable.
    Every method may raise StoreUnavailable.
    """

    bank_id: str
    """The id of the bank that the log belongs to: random, made once, the same in every copy of the log."""
    store_id: str
    """The id of this store. Another copy of the same log has other positions and another store id."""
    sole_writer: bool
    """Whether only this process can append, so that what it remembers of a stream cannot be out of date."""
    after_loss: str
    """What an operator can do if the log has lost events, for messages."""

    @property
    def writable(self) -> bool:
        """Whether the store accepts appends, as far as is known. False from a failed append until the next successful
        one."""
        ...

    @property
    def confirmed_seconds_ago(self) -> float:
        """How long ago this was known to be the store that accepts the bank's appends; 0 if there can be no other.

        An open subscription has all that was appended until then, except what is on its way.
        """
        ...

    def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> Awaitable[int]:
        """Appends `events` (at least one) after `expected_revision` (NO_STREAM for a new stream).

        Returns the position of the last one. Raises WrongExpectedRevision, OutcomeUnknown, AppendTooLarge.
        """
        ...

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = 1000) -> Sequence[RecordedEvent]:
        """Up to `limit` events of a stream after the revision `after`, in order; empty past the end or without one."""
        ...

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        """The last `limit` events of a stream, in order; empty without one."""
        ...

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        """Reads what is needed to fold a stream's aggregate, up to the revision `through` if one is given."""
        ...

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        """The newest snapshot of a stream, up to the revision `through` if one is given; None without one.

        Snapshots may get lost. The caller checks that the stream has the snapshot's event.
        """
        ...

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """Stores a snapshot of durable events beside those of other revisions, with a delay. Failures are silent."""
        ...

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        """The events of this stream whose commands had one of these request ids, in order, however long ago.

        Events after the revision `through`, if one is given, may be left out. The cost does not grow with the stream:
        an index is used.
        """
        ...

    async def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> Collection[str]:
        """The streams that may have an event of one of these requests, each given by its stream and its id.

        One read for all of them. A store in which that is no faster than `find_requests` returns every stream.
        """
        ...

    async def quarantine(self) -> KeptRecord:
        """The record of what is quarantined, as `quarantine_record` encodes it."""
        ...

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        """Replaces the record durably if it is still at `version`. Returns the new version, or None.

        Raises OutcomeUnknown if the outcome is unknown: load the record again.
        """
        ...

    async def read_log(self, after: LogPosition, limit: int = 1000) -> LogSlice:
        """Up to about `limit` events of the log after a position, of all streams, in the order of the log.

        An append is never split: the slice ends where an append does.
        """
        ...

    async def head(self) -> LogPosition:
        """The end of the log, read from the store. BEGINNING for an empty log."""
        ...

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        """The place before the first event, in log order, whose record time is `time` (microseconds) or later.

        The head if there is none. The search starts at `after`: a caller that knows an earlier place, such as the views
        with a place for every minute, saves reading the log up to there.
        """
        ...

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        """The place of an event in this log; None if the log does not have it."""
        ...

    async def hides_events(self, stream: str) -> bool:
        """Whether operators have hidden events of a stream with the store's own tools."""
        ...

    def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        """The log after a position, and everything that is appended from then on.

        Slices have no gap, no duplicate and no split append between them. A slice with `caught_up` comes each time the
        end of the log is reached, and may be empty. A live append arrives without waiting for others. Raises
        StoreUnavailable when it breaks: subscribe again from the last `through`.
        """
        ...

    async def close(self) -> None:
        """Ends subscriptions and waits for appends under way."""
        ...

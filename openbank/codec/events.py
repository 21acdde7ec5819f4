"""Domain events to their stored form and back, by the rows of all event types.

The payload is the event's protobuf message; readers ignore fields they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from openbank.codec import accounts, canonical_json, internal, persons
from openbank.codec.event_type import EventType
from openbank.domain.account_events import AccountEvent
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.person import PersonEvent
from openbank.eventstore.port import LogPosition, RecordedEvent

PREFIX = "openbank."
"""Types with another beginning are other programs': skipped and counted, never refused."""

InternalEvent = RequestClaimed | AccountNumberReserved
DomainEvent = PersonEvent | AccountEvent | InternalEvent

ROWS: Mapping[str, EventType] = {row.name: row for row in (*persons.ROWS, *accounts.ROWS, *internal.ROWS)}
"""Every event type, by its stored name."""
TYPES = tuple(ROWS)
_ENCODERS = {row.event: (row.name, row.encode) for row in ROWS.values()}


class MadeHere(bytes):
    """A payload that this process has encoded, with the event that it was made of. Readers in the same process get the
    event from `decode` without decoding it."""

    event: DomainEvent


class UnknownEventType(Exception):
    """A type of the bank's that this version does not know: a newer version wrote it."""


class UndecodableEvent(Exception):
    """A stored payload that is not its type's message. The message holds none of its content, which may be personal
    data."""


def event_type(name: str) -> EventType:
    """The row of a stored type. Raises UnknownEventType."""
    row = ROWS.get(name)
    if row is None:
        raise UnknownEventType(name)
    return row


def encode(event: DomainEvent) -> tuple[str, bytes]:
    """An event's stored type, and its payload in binary."""
    name, message_of = _ENCODERS[type(event)]
    # No message has a map, the one thing whose order could differ from time to time.
    return name, message_of(event).SerializeToString()


def decode(type_name: str, data: bytes, aggregate_id: str) -> DomainEvent:
    """The inverse of `encode`. `aggregate_id` is the id in the stream's name.

    Raises UnknownEventType and UndecodableEvent.
    """
    if isinstance(data, MadeHere):
        return data.event
    row = event_type(type_name)
    try:
        event: DomainEvent = row.decode(row.message.FromString(data), aggregate_id)
    except (DecodeError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None
    return event


def to_json(type_name: str, data: bytes) -> bytes:
    """The payload in protobuf's canonical JSON mapping, with the names of the proto files."""
    return canonical_json.to_json(event_type(type_name).message.FromString(data)).encode()


def from_json(type_name: str, json: bytes) -> bytes:
    """The inverse of `to_json`; fields that this version does not know are left out."""
    try:
        message = canonical_json.from_json(json, event_type(type_name).message)
    except (json_format.ParseError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None
    return message.SerializeToString(deterministic=True)


def from_whole_json(type_name: str, json: bytes) -> bytes:
    """As `from_json`, but a field or value that this version does not know is UndecodableEvent, and not left out."""
    try:
        message = json_format.Parse(json, event_type(type_name).message())
    except (json_format.ParseError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None
    return message.SerializeToString(deterministic=True)


def is_whole_as_json(type_name: str, data: bytes) -> bool:
    """Whether the JSON mapping says all that a payload in binary holds: no field is unknown to this version."""
    try:
        return from_whole_json(type_name, to_json(type_name, data)) == data
    except (UnknownEventType, UndecodableEvent, DecodeError):
        return False


def is_ours(type_name: str) -> bool:
    return type_name.startswith(PREFIX)


def is_newer(type_name: str) -> bool:
    """Whether it is the bank's, and only a newer version knows it."""
    return is_ours(type_name) and type_name not in ROWS


def place_after(events: Sequence[RecordedEvent], after: LogPosition) -> LogPosition:
    """The place of the last of `events`, which follow `after`. The last event of the bank's names it."""
    if not events:
        return after
    named = next((event.place for event in reversed(events) if is_ours(event.type)), after)
    return named._replace(position=events[-1].position)

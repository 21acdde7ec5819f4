"""Events as EventStoreDB holds them, readable by its UI and its projections.

The payload is the message's canonical JSON mapping. A payload that this version cannot decode stays binary; readers
accept both. The metadata is JSON, with EventStoreDB's names for the correlation and our names for the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from uuid import UUID

from esdbclient.events import ContentType
from google.protobuf.message import DecodeError

from openbank.codec import events as codec
from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.port import RECORD_TIME_MAX, Metadata, NewEvent, RecordedEvent, StoredPayload

JSON: ContentType = "application/json"
BINARY: ContentType = "application/octet-stream"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNKNOWN = Metadata(0)
_HALF = re.compile("[\ud800-\udfff]")
_decode = json.JSONDecoder().decode
"""`json.loads` guesses an encoding first."""
_is_our_uuid = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


Convert = Callable[[Stored, int], RecordedEvent]
"""Reads an event as it is stored. The second argument is the length of the prefix that the bank puts before streams'
names."""


def payload(type_name: str, data: bytes) -> tuple[ContentType, bytes]:
    """The content type of an event's payload, and the payload."""
    if isinstance(data, StoredPayload):
        return (JSON if data.is_json else BINARY), bytes(data)
    try:
        return JSON, codec.to_json(type_name, data)
    except (codec.UnknownEventType, DecodeError):
        return BINARY, data


def metadata(event: Metadata) -> bytes:
    """Empty values are left out. Built by hand: an encoder of dictionaries takes four times as long."""
    fields = [f'{{"recordTime":"{_to_text(event.record_time)}"']
    if event.correlation_id:
        fields.append(f'"$correlationId":{_quoted(event.correlation_id)}')
    if event.causation_id:
        fields.append(f'"$causationId":{_quoted(event.causation_id)}')
    if event.request_id:
        fields.append(f'"requestId":"{uuid_text(event.request_id)}"')
    if event.request_hash:
        fields.append(f'"requestHash":"{event.request_hash.hex()}"')
    if event.owner_id:
        fields.append(f'"ownerId":{_quoted(event.owner_id)}')
    if event.actor:
        fields.append(f'"actor":{_quoted(event.actor)}')
    if event.parts != 1:
        fields.append(f'"part":{event.part},"parts":{event.parts}')
    return (",".join(fields) + "}").encode()


def metadata_of(event: NewEvent) -> bytes:
    stored = event.data.metadata if isinstance(event.data, StoredPayload) else None
    return metadata(event.metadata) if stored is None else stored


def uuid_text(uuid: bytes) -> str:
    digits = uuid.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def recorded(event: Stored, prefix: int = 0, *, payload: bool = True) -> RecordedEvent:
    """The event as the port has it.

    `prefix` is the length of the prefix that the bank puts before streams' names. Without `payload` the payload is left
    as it is stored, since reading it takes most of the time. An event of another program is returned as it is. An event
    of the bank's that this version cannot read is returned raw, so that its decoder reports it.
    """
    data, about = event.data, _UNKNOWN
    if codec.is_ours(event.type):
        about = _metadata(event.metadata)
        if payload and event.content_type == JSON:
            data = _from_json(event.type, event.data)
    stream = event.stream_name[prefix:]
    return RecordedEvent(event.commit_position, stream, event.stream_position + 1, event.id, event.type, data, about)


def without_payload(event: Stored, prefix: int = 0) -> RecordedEvent:
    return recorded(event, prefix, payload=False)


def as_stored(event: Stored, prefix: int = 0) -> RecordedEvent:
    """The same, with the payload and the metadata byte for byte."""
    result = recorded(event, prefix, payload=False)
    ours = metadata(result.metadata)
    raw = None if event.metadata == ours else event.metadata
    more = bool(raw) and codec.is_ours(event.type) and _known(raw or b"") != json.loads(ours)
    stored = StoredPayload.of(event.data, is_json=event.content_type == JSON, metadata=raw, says_more=more)
    return result._replace(data=stored)


def is_system(event: RecordedEvent) -> bool:
    """Whether it is a tombstone, which EventStoreDB itself writes into a stream of ours."""
    return event.type.startswith("$")


def whole(events: list[RecordedEvent]) -> int:
    """How many of `events` there are without a command that is cut off at the end."""
    count = len(events)
    while count and missing(events[count - 1]):
        count -= 1
    return count


def missing(event: RecordedEvent) -> int:
    """How many events of its command come after this one."""
    return max(0, event.metadata.parts - event.metadata.part - 1)


def _from_json(type_name: str, data: bytes) -> bytes:
    try:
        return codec.from_json(type_name, data)
    except (codec.UnknownEventType, codec.UndecodableEvent):
        return data


def _metadata(raw: bytes) -> Metadata:
    """A value that is missing, or is not one that we write, is empty."""
    stored = _from_json_text(raw)
    if not isinstance(stored, dict):
        return _UNKNOWN
    about = Metadata(
        record_time=_from_text(stored.get("recordTime")),
        request_id=_request_id(stored.get("requestId")),
        request_hash=_hash(stored.get("requestHash")),
        correlation_id=_text(stored.get("$correlationId")),
        causation_id=_text(stored.get("$causationId")),
        owner_id=_text(stored.get("ownerId")),
        part=_number(stored.get("part"), 0),
        parts=_number(stored.get("parts"), 1),
        actor=_text(stored.get("actor")),
    )
    # Not one that the bank writes. Nothing should wait for a million events that are said to follow it.
    return about if about.has_place else about._replace(part=0, parts=0)


def _known(raw: bytes) -> object:
    """The metadata that the bank compares and copies: all except EventStoreDB's own names, of which the bank sets only
    two."""
    stored = _from_json_text(raw)
    if not isinstance(stored, dict):
        return stored
    ours = ("$correlationId", "$causationId")
    return {name: value for name, value in stored.items() if name in ours or not name.startswith("$")}


def _from_json_text(raw: bytes) -> object:
    """None for text that is not JSON, or is nested deeper than anything that the bank writes."""
    try:
        return _decode(raw.decode())
    except (ValueError, RecursionError):
        return None


def _to_text(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Asked for many times in a second."""
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def _from_text(value: object) -> int:
    try:
        time = (datetime.fromisoformat(_text(value)) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        return 0
    return time if 0 < time <= RECORD_TIME_MAX else 0


def _request_id(value: object) -> bytes:
    text = _text(value)
    try:
        return bytes.fromhex(text.replace("-", "")) if _is_our_uuid(text) else UUID(text).bytes
    except ValueError:
        return b""


def _hash(value: object) -> bytes:
    try:
        return bytes.fromhex(_text(value))
    except ValueError:
        return b""


def _text(value: object) -> str:
    """Empty for text that no message and no database accepts: JSON can hold half of a surrogate pair."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() or not _HALF.search(value) else ""


def _number(value: object, default: int) -> int:
    return value if type(value) is int else default

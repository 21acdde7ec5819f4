"""An event as a row of the table `events`, and back."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import Metadata, RecordedEvent

Row = tuple[Any, ...]

_BYTES, _TEXT = "nullif(?, x'')", "nullif(?, '')"
VALUES = f"({', '.join([*'???????', _BYTES, _BYTES, _TEXT, _TEXT, _TEXT, 'nullif(?, 0)', '?', _TEXT])})"
"""A row of `events`. Empty values are NULL, which takes no space."""

_CHECKED = struct.Struct(">qqqq")


def to_row(event: RecordedEvent, stream: int, type_key: int) -> Row:
    """The values of VALUES.

    Part and parts share a column, 0 for a single event. Bytes go as bytearrays, and NULLs as empty values: for bytes
    and for None, Python's sqlite3 first looks for an adapter, which takes longer than everything else here.
    """
    position, _, revision, event_id, _, data, meta = event
    time, request_id, request_hash, correlation_id, causation_id, owner_id, part, parts, actor = meta
    return (
        position,
        stream,
        revision,
        bytearray(event_id),
        type_key,
        bytearray(data),
        time,
        bytearray(request_id),
        bytearray(request_hash),
        correlation_id,
        causation_id,
        owner_id,
        0 if parts == 1 else part << 16 | parts,
        checksum(event),
        actor,
    )


def from_row(row: Row, type_name: str) -> RecordedEvent:
    """The inverse of `to_row`, of a row that has the name of the stream before its columns. Raises StoreDamaged."""
    try:
        (
            stream,
            position,
            _,
            revision,
            event_id,
            _,
            data,
            time,
            request_id,
            request_hash,
            correlation,
            causation,
            owner,
            place,
            stored,
            *actor,
        ) = row
        part, parts = (0, 1) if place is None else divmod(place, 1 << 16)
        metadata = Metadata(
            time,
            request_id or b"",
            request_hash or b"",
            correlation or "",
            causation or "",
            owner or "",
            part,
            parts,
            # A log that an earlier version left has no such column.
            (actor[0] or "") if actor else "",
        )
        event = RecordedEvent(position, stream, revision, event_id, type_name, data, metadata)
        if checksum(event) == stored:
            return event
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise StoreDamaged("a column of an event has another type than it was written with") from error
    raise StoreDamaged(f"the event at position {position} is not what was written")


def checksum(event: RecordedEvent) -> int:
    """CRC-32 of the whole event, with names instead of keys, so that it is the same in any copy of the row.

    An actor counts only where there is one: so the rows of earlier versions stay what was written.
    """
    position, stream, revision, event_id, type_name, data, meta = event
    time, request_id, request_hash, correlation_id, causation_id, owner_id, part, parts, actor = meta
    checked = _CHECKED.pack(position, revision, time, part << 16 | parts)
    texts = f"{stream}\0{type_name}\0{correlation_id}\0{causation_id}\0{owner_id}".encode()
    if actor:
        texts += f"\0{actor}".encode()
    return zlib.crc32(b"\0".join((checked, event_id, data, request_id, request_hash, texts)))

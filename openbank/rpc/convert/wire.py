"""Protobuf's wire format, for messages that are put together from encoded parts.

It is for what is sent most. All else is filled into messages.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

_DELIMITED = 2
_SHORT_END = 1 << 14


class _Varints(dict[int, bytes]):
    """Encoded numbers that are not negative. Those that take one or two bytes are kept."""

    def __missing__(self, value: int) -> bytes:
        return _LOW[value % _SHORT_END] + self[value >> 14]


_LOW = [bytes([value & 0x7F | 0x80, value >> 7 | 0x80]) for value in range(_SHORT_END)]
"""The first two bytes of larger numbers, which have their lowest 14 bits."""
VARINTS = _Varints({value: bytes([value]) for value in range(1 << 7)})
VARINTS |= {value: bytes([value & 0x7F | 0x80, value >> 7]) for value in range(1 << 7, _SHORT_END)}


def tag(field: FieldDescriptor) -> bytes:
    """What comes before the field's value."""
    scalar = field.type in (field.TYPE_INT32, field.TYPE_INT64, field.TYPE_ENUM, field.TYPE_BOOL)
    return VARINTS[field.number << 3 | (0 if scalar else _DELIMITED)]


def text(tag: bytes, value: str) -> bytes:
    """A field of text; none for the empty text."""
    if not value:
        return b""
    encoded = value.encode()
    return b"".join((tag, VARINTS[len(encoded)], encoded))


def timestamp(microseconds: int) -> bytes:
    """A google.protobuf.Timestamp."""
    _timestamp.seconds, rest = divmod(microseconds, 1_000_000)
    _timestamp.nanos = rest * 1000
    return _timestamp.SerializeToString()


_timestamp = Timestamp()
"""Filled again for each time, which costs less than a new message."""

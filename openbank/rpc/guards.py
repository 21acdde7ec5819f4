"""What a request must pass before its method sees it: its size, its encoding, unknown fields.

All of it costs in proportion to bytes that the limits here allow, so that no request can hold up the others for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]

from openbank.domain.errors import InvalidFields, Refused, Violation
from openbank.domain.fields import VIOLATIONS_MAX
from openbank.rpc.errors import Malformed, RequestTooLarge

SINGLE_FIELDS_BYTES_MAX = 16 << 10
"""Room for all fields that are not repeated. The largest legal request, RegisterPerson, needs 4.1 KB. With the rest,
a text that is a few times too long is still refused by the name of its field."""
VALUES_MAX = 1_000
"""Values of a repeated field."""
VALUE_BYTES = 128
"""Room for each of them. The largest legal one, an id, needs 66."""

Unreadable = Callable[[], Refused]
"""In place of a request that cannot be read: makes the refusal."""


def request_bytes_max(request: Descriptor) -> int:
    """The most bytes that a request of this type may have: more than any legal one."""
    repeated = len([field for field in request.fields if field.label == FieldDescriptor.LABEL_REPEATED])
    return SINGLE_FIELDS_BYTES_MAX + repeated * VALUES_MAX * VALUE_BYTES


def reader(request: Descriptor) -> Callable[[bytes], Message | Unreadable]:
    """Decodes requests. It raises nothing: grpc.aio would answer an exception here with UNKNOWN and its text."""
    decode = GetMessageClass(request).FromString
    bytes_max = request_bytes_max(request)

    def read(data: bytes) -> Message | Unreadable:
        if len(data) > bytes_max:
            size = len(data)
            return lambda: RequestTooLarge(size, bytes_max)
        try:
            return decode(data)
        except DecodeError:
            return Malformed

    return read


class KnownFields:
    """Refuses requests with fields that this version does not know.

    An older server must not do what a newer client meant otherwise: as a dry run, for example.
    """

    def __init__(self, request: Descriptor) -> None:
        self._nested = _nested(request)

    def check(self, request: Message) -> None:
        """Raises InvalidFields with the paths of unknown fields: "amount.4", "labels[2].15"."""
        if paths := _unknown_paths(request, self._nested, ""):
            why = "is unknown to this server; the request was rejected rather than partly applied"
            # The same field may be there many times.
            unique = list(dict.fromkeys(paths))
            violations = [Violation(path, "UNKNOWN_FIELD", why) for path in unique[:VIOLATIONS_MAX]]
            raise InvalidFields(violations, more=len(unique) - len(violations))


class _Nested(NamedTuple):
    """A field whose values are messages, with those of their fields that are."""

    name: str
    repeated: bool
    fields: Sequence[_Nested]


def _nested(message: Descriptor) -> Sequence[_Nested]:
    """No mutation is recursive."""
    return [
        _Nested(field.name, field.label == FieldDescriptor.LABEL_REPEATED, _nested(field.message_type))
        for field in message.fields
        if field.message_type is not None
    ]


def _unknown_paths(request: Any, nested: Sequence[_Nested], path: str) -> list[str]:
    unknown = UnknownFieldSet(request)
    paths = [f"{path}{field.field_number}" for field in unknown] if len(unknown) else []
    for name, repeated, fields in nested:
        if repeated:
            for index, value in enumerate(getattr(request, name)):
                paths += _unknown_paths(value, fields, f"{path}{name}[{index}].")
        elif request.HasField(name):
            paths += _unknown_paths(getattr(request, name), fields, f"{path}{name}.")
    return paths

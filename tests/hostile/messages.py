"""Requests as they stand on the wire, made from the descriptors: right, wrong in places, and no messages at all."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from openbank.rpc.services import DESCRIPTORS
from tests.hostile.values import Values

SERVICES = (
    *DESCRIPTORS,
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
DEPTH_MAX = 4


class Method(NamedTuple):
    path: str
    descriptor: MethodDescriptor

    @property
    def many_requests(self) -> bool:
        return bool(self.descriptor.client_streaming)

    @property
    def many_answers(self) -> bool:
        return bool(self.descriptor.server_streaming)


METHODS = [Method(f"/{service.full_name}/{method.name}", method) for service in SERVICES for method in service.methods]
"""Every RPC of every service that the bank has."""


def varint(value: int) -> bytes:
    """A number as protobuf encodes it; a negative one has ten bytes."""
    value &= 2**64 - 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def field(number: int, value: bytes) -> bytes:
    """A length-delimited one."""
    return tag(number, BYTES) + varint(len(value)) + value


def _optional(descriptor: FieldDescriptor) -> bool:
    """Marked so: most calls do without an expected revision."""
    oneof = descriptor.containing_oneof
    return oneof is not None and len(oneof.fields) == 1


class Messages:
    def __init__(self, random: Random, values: Values) -> None:
        self._random = random
        self._values = values
        self._damages = (
            self._cut, self._flip, self._twice, self._unknown_field, self._unknown_field, self._other_wire_type,
            self._nested, self._huge_length, self._many, self._no_field, self._raw,
        )  # fmt: skip

    def request(self, method: MethodDescriptor) -> bytes:
        """Most are messages of the method's type, and of those most are wrong in one place or two."""
        wrong = self._random.choice((0.0, 0.1, 0.1, 0.5, 1.0))
        raw = self._message(method.input_type, wrong, 0) if wrong else self.right(method)
        while self._random.random() < 0.2:
            raw = self._random.choice(self._damages)(raw, method.input_type)
        return raw

    def right(self, method: MethodDescriptor) -> bytes:
        """A message of the method's type that is likely to be taken."""
        raw = self._message(method.input_type, 0.0, 0)
        fields = method.input_type.fields_by_name
        # Of a field that is there twice, the last one counts.
        for name, value in self._values.fitting(fields).items():
            number = fields[name].number
            if isinstance(value, int):
                raw += tag(number, VARINT) + varint(value)
            else:
                raw += field(number, value if isinstance(value, bytes) else value.encode())
        return raw

    def large(self, method: MethodDescriptor) -> bytes:
        """Too large for its method, or nearly: one long text, thousands of values, thousands of unknown fields."""
        size = self._random.choice((15_000, 16 << 10, 100_000, 390_000, 1_000_000, (1 << 20) - 1_000))
        numbers = [one.number for one in method.input_type.fields if one.message_type is None] or [1]
        number = self._random.choice(numbers)
        some = self._random.choice(
            (
                field(number, b"x" * size),
                field(number, b"x" * 60) * (size // 62),
                field(number, b"") * (size // 2),
                (tag(15, VARINT) + varint(1)) * (size // 2),
                b"".join(tag(1_000 + one, VARINT) + varint(1) for one in range(size // 4)),
            )
        )
        return some[:size]

    def _message(self, descriptor: Descriptor, wrong: float, depth: int) -> bytes:
        chosen = [one for one in descriptor.fields if self._random.random() > (0.7 if _optional(one) else wrong / 3)]
        for oneof in descriptor.oneofs:
            some = [one for one in chosen if one.containing_oneof is oneof]
            left_out = (
                set(map(id, some)) - {id(self._random.choice(some))} if some and self._random.random() < 0.9 else ()
            )
            chosen = [one for one in chosen if id(one) not in left_out]
        if self._random.random() < wrong:
            self._random.shuffle(chosen)
        return b"".join(self._field(one, wrong, depth) for one in chosen)

    def _field(self, descriptor: FieldDescriptor, wrong: float, depth: int) -> bytes:
        times = self._random.choice((0, 1, 1, 2, 3)) if descriptor.label == descriptor.LABEL_REPEATED else 1
        return b"".join(self._value(descriptor, wrong, depth) for _ in range(times))

    def _value(self, descriptor: FieldDescriptor, wrong: float, depth: int) -> bytes:
        if descriptor.message_type is not None:
            inner = b"" if depth >= DEPTH_MAX else self._message(descriptor.message_type, wrong, depth + 1)
            return field(descriptor.number, inner)
        is_wrong = self._random.random() < wrong
        value: Any = self._values.wrong(descriptor) if is_wrong else self._values.right(descriptor)
        if isinstance(value, int):
            return tag(descriptor.number, VARINT) + varint(value)
        return field(descriptor.number, value.encode() if isinstance(value, str) else value)

    def _cut(self, raw: bytes, _: Descriptor) -> bytes:
        return raw[: self._random.randint(0, len(raw))]

    def _flip(self, raw: bytes, _: Descriptor) -> bytes:
        changed = bytearray(raw or b"\0")
        for _number in range(self._random.randint(1, 8)):
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _twice(self, raw: bytes, _: Descriptor) -> bytes:
        return raw * self._random.choice((2, 3, 50))

    def _unknown_field(self, raw: bytes, _: Descriptor) -> bytes:
        number = self._random.choice((2, 13, 99, 1000, 19_000, 2**29 - 1))
        value = self._random.choice(
            (
                field(number, b"newer"),
                tag(number, VARINT) + varint(self._random.getrandbits(64)),
                tag(number, FIXED32) + bytes(4),
                tag(number, FIXED64) + bytes(8),
                tag(number, GROUP) + tag(number, GROUP_END),
                tag(number, GROUP),
                tag(number, GROUP_END),
            )
        )
        at = self._random.choice((0, len(raw)))
        return raw[:at] + value + raw[at:]

    def _other_wire_type(self, raw: bytes, descriptor: Descriptor) -> bytes:
        number = self._random.choice([one.number for one in descriptor.fields] or [1])
        wire_type = self._random.randrange(8)
        return raw + tag(number, wire_type) + self._random.randbytes(self._random.randint(0, 12))

    def _nested(self, raw: bytes, descriptor: Descriptor) -> bytes:
        """Deeper than anybody nests: as groups, which parsers follow, and as fields of fields, which they need not."""
        depth = self._random.choice((10, 99, 100, 101, 1_000, 20_000))
        number = self._random.choice([1, 15, *(one.number for one in descriptor.fields)])
        if self._random.random() < 0.7:
            return (
                raw + tag(number, GROUP) * depth + tag(number, GROUP_END) * self._random.choice((depth, depth - 1, 0))
            )
        inner = b""
        for _ in range(min(depth, 1_000)):
            inner = field(number, inner)
        return raw + inner

    def _huge_length(self, raw: bytes, _: Descriptor) -> bytes:
        length = self._random.choice((2**20, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1))
        return raw + tag(self._random.randint(1, 20), BYTES) + varint(length) + b"x" * self._random.randint(0, 9)

    def _many(self, raw: bytes, descriptor: Descriptor) -> bytes:
        """One scalar or text again and again: the last one counts, or all of them in a list."""
        times = self._random.choice((999, 1_000, 1_001, 5_000))
        some = [one for one in descriptor.fields if one.message_type is None]
        return raw + self._value(self._random.choice(some), 0.5, 0)[:200] * times if some else raw

    def _no_field(self, raw: bytes, _: Descriptor) -> bytes:
        return raw + self._random.choice((b"\x00\x00", b"\x07", b"\xff" * 11, b"\x80" * 10 + b"\x01", b"\x0f", b"\x0b"))

    def _raw(self, raw: bytes, _: Descriptor) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 5, 16, 64, 300, 5_000)))

"""The fields of a message as text. The names of fields are paths, such as `address.city`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.cli.output.text import one_line
from openbank.cli.terminal import shown
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.money_pb2 import Money

_NANOS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAVES = ("openbank.common.v1.", "google.protobuf.")
"""Packages of messages that are one value, such as an amount or a time."""
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))

TimeFormat = Callable[[Timestamp], str]


def paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """All fields of a type of message, and those of the messages in it."""
    for field in message.fields:
        inner = field.message_type
        if inner is None or field.label == FieldDescriptor.LABEL_REPEATED or inner.full_name.startswith(_LEAVES):
            yield prefix + field.name
        else:
            yield from paths(inner, f"{prefix}{field.name}.")


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    return field_at(field.message_type, rest) if rest else field


def value_at(message: Any, path: str) -> Any:
    """The value of a field; None where it is not set. An enum is its name, without the prefix of its type."""
    first, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[first]
    if field.label != FieldDescriptor.LABEL_REPEATED and field.has_presence and not message.HasField(first):
        return None
    value = getattr(message, first)
    if rest:
        return value_at(value, rest)
    if field.label == FieldDescriptor.LABEL_REPEATED:
        return _json_of(message, first) if len(value) else None
    return _enum_name(field, value) if field.enum_type is not None else value


def text_of(value: Any, times: TimeFormat) -> str:
    """A value for people: in one line, and without what controls a terminal. Empty where it is not set."""
    if isinstance(value, Money):
        return f"{decimal(value)} {shown(value.currency_code)}" if value.currency_code else decimal(value)
    if isinstance(value, Timestamp):
        return times(value)
    if isinstance(value, Date):
        return f"{value.year:04}-{value.month:02}-{value.day:02}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Message):
        return shown(MessageToJson(value, indent=None))
    return "" if value is None else one_line(str(value))


def decimal(money: Money) -> str:
    """The amount with the decimals of its currency, and never fewer than it has."""
    units, nanos = divmod(abs(money.units * _NANOS + money.nanos), _NANOS)
    decimals = f"{nanos:09}".rstrip("0").ljust(_decimals().get(money.currency_code, 0), "0")
    sign = "-" if money.units < 0 or money.nanos < 0 else ""
    return f"{sign}{units}.{decimals}" if decimals else f"{sign}{units}"


@cache
def _decimals() -> Mapping[str, int]:
    """How many decimals each currency has."""
    # Imported late, as it takes as long as the rest of a command's answer, and JSON does not need it.
    import iso4217

    return {one.code: one.exponent or 0 for one in iso4217.Currency}


def times_in(format: str, *, timespec: str = "seconds") -> TimeFormat:
    """Shows times as `--time-format` says."""
    if format == "relative":
        now = datetime.now(UTC)
        return lambda time: _age(now - _moment(time))
    if format == "local":
        return lambda time: _moment(time).astimezone().isoformat(timespec=timespec)
    return lambda time: _moment(time).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def _moment(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(microseconds=time.ToMicroseconds())


def _age(age: timedelta) -> str:
    seconds = int(abs(age).total_seconds())
    text = next((f"{seconds // size} {unit}" for size, unit in _AGES if seconds >= size), f"{seconds} s")
    return f"in {text}" if age < timedelta(0) else f"{text} ago"


def _enum_name(field: FieldDescriptor, number: int) -> str | None:
    """ACTIVE of ACCOUNT_STATE_ACTIVE; None where it is not specified. A newer bank may have values without a name
    here."""
    if number == 0:
        return None
    prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = field.enum_type.values_by_number.get(number)
    return value.name.removeprefix(prefix) if value is not None else str(number)


def _json_of(message: Any, name: str) -> str:
    """Lists and maps."""
    alone = type(message)()
    getattr(alone, name).MergeFrom(getattr(message, name))
    return MessageToJson(alone, preserving_proto_field_name=True, indent=None).partition(": ")[2].removesuffix("}")

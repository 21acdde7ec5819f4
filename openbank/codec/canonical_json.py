"""Messages in protobuf's canonical JSON mapping, with the names of the proto files: as `json_format` has them.

Every append to EventStoreDB writes one and every read reads one, and `json_format` takes longer for it than all else
that is done in Python. Messages of texts, integers, flags, such messages and lists of these are written here in 40%
of its time, and read in 30%. Movements of money are such messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from json import JSONDecoder
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_Write = Callable[[Any], str]
_Read = Callable[[Any, Any], None]
"""Sets what a value of JSON says in a message."""
_SetField = Callable[[Any, str, Any], None]
"""The same in the field with a name."""
Kind = TypeVar("Kind", bound=Message)

_is_integer = re.compile("-?[0-9]+").fullmatch


def to_json(message: Message) -> str:
    write = _writer(message.DESCRIPTOR)
    if write:
        return write(message)
    return json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True)


def from_json(text: bytes, kind: type[Kind]) -> Kind:
    """The inverse of `to_json`, without the fields that `kind` does not have. Raises ParseError and ValueError."""
    read = _reader(kind.DESCRIPTOR)
    if read:
        message = kind()
        try:
            read(message, _decode(text.decode()))
        except (_OtherForm, ValueError, RecursionError):
            pass
        else:
            return message
    return json_format.Parse(text, kind(), ignore_unknown_fields=True)


@cache
def _writer(message: Descriptor) -> _Write | None:
    """None if a field is of another kind, or the message has a mapping of its own."""
    if message.full_name.startswith("google.protobuf."):
        return None
    writers = {field.number: _field_writer(field) for field in message.fields}
    known = {number: write for number, write in writers.items() if write}
    if len(known) < len(writers):
        return None
    names = {field.number: f'"{field.name}": ' for field in message.fields}

    def write(value: Message) -> str:
        parts = [names[field.number] + known[field.number](part) for field, part in value.ListFields()]
        return "{" + ", ".join(parts) + "}"

    return write


def _field_writer(field: FieldDescriptor) -> _Write | None:
    if field.label == FieldDescriptor.LABEL_REPEATED:
        return _list_writer(field)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _quoted
        case FieldDescriptor.TYPE_INT32:
            return str
        case FieldDescriptor.TYPE_INT64:
            return '"{}"'.format
        case FieldDescriptor.TYPE_BOOL:
            return _flag
        case FieldDescriptor.TYPE_MESSAGE:
            return _writer(field.message_type)
    return None


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _list_writer(field: FieldDescriptor) -> _Write | None:
    """Writes a list of messages. A map is another form."""
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return None
    write = _writer(field.message_type)
    return (lambda values: "[" + ", ".join(map(write, values)) + "]") if write else None


class _OtherForm(Exception):
    """Differs from what `to_json` writes; `json_format` decides whether it is valid."""


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _OtherForm
    return found


_decode = JSONDecoder(object_pairs_hook=_fields).decode


@cache
def _reader(message: Descriptor) -> _Read | None:
    """None if `to_json` does not write it by itself, or not all fields can be set together."""
    if not _writer(message):
        return None
    setters = {field.name: _field_setter(field) for field in message.fields}
    known = {name: set_field for name, set_field in setters.items() if set_field}
    if len(known) < len(setters):
        return None

    def read(into: Message, value: Any) -> None:
        if type(value) is not dict:
            raise _OtherForm
        for name, part in value.items():
            set_field = known.get(name)
            if set_field is None:
                raise _OtherForm
            set_field(into, name, part)

    return read


def _field_setter(field: FieldDescriptor) -> _SetField | None:
    if field.containing_oneof:
        return None
    if field.label == FieldDescriptor.LABEL_REPEATED:
        return _list_setter(field)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _set_text
        case FieldDescriptor.TYPE_INT32:
            return _set_number
        case FieldDescriptor.TYPE_INT64:
            return _set_number_in_text
        case FieldDescriptor.TYPE_BOOL:
            return _set_flag
        case FieldDescriptor.TYPE_MESSAGE:
            return _message_setter(field)
    return None


def _set_text(into: Message, name: str, value: Any) -> None:
    if type(value) is not str:
        raise _OtherForm
    setattr(into, name, value)


def _set_number(into: Message, name: str, value: Any) -> None:
    if type(value) is not int:
        raise _OtherForm
    setattr(into, name, value)


def _set_number_in_text(into: Message, name: str, value: Any) -> None:
    if type(value) is not str or not _is_integer(value):
        raise _OtherForm
    setattr(into, name, int(value))


def _set_flag(into: Message, name: str, value: Any) -> None:
    if type(value) is not bool:
        raise _OtherForm
    setattr(into, name, value)


def _message_setter(field: FieldDescriptor) -> _SetField | None:
    read = _reader(field.message_type)
    if read is None:
        return None

    def set_message(into: Message, name: str, value: Any) -> None:
        part = getattr(into, name)
        part.SetInParent()
        read(part, value)

    return set_message


def _list_setter(field: FieldDescriptor) -> _SetField | None:
    read = _reader(field.message_type)
    if read is None:
        return None

    def set_list(into: Message, name: str, values: Any) -> None:
        if type(values) is not list:
            raise _OtherForm
        for value in values:
            read(getattr(into, name).add(), value)

    return set_list

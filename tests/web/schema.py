"""The messages that the page reads and writes, from the contract: python -m tests.web.schema writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from openbank.rpc.services import DESCRIPTORS

FILE = Path(__file__).parents[2] / "openbank" / "web" / "page" / "schema.js"
CALLED = (
    "ListAccountsByOwner", "GetAccount", "WatchAccountEvents", "ListAccountEvents", "ListTransfers", "ListHolds",
    "ListSinks", "GetRebuild",
)  # fmt: skip
_TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}


def schema() -> str:
    methods = {method.name: method for one in DESCRIPTORS for method in one.methods if method.name in CALLED}
    roots = [kind for name in CALLED for kind in (methods[name].input_type, methods[name].output_type)]
    messages = list(_reached([*roots, Status.DESCRIPTOR, ErrorInfo.DESCRIPTOR, AnyMessage.DESCRIPTOR]))
    enums = {field.enum_type.name: field.enum_type for one in messages for field in one.fields if field.enum_type}
    parts: dict[str, dict[Any, Any]] = {
        "METHODS": {name: _method(methods[name]) for name in CALLED},
        "MESSAGES": {one.full_name: {field.name: _field(field) for field in _fields(one)} for one in messages},
        "ENUMS": {name: _names(enum) for name, enum in enums.items() if name != "ErrorReason"},
    }
    return "// Made from the contract by: python -m tests.web.schema\n" + "".join(
        f"export const {name} = {{\n{_lines(part)}}};\n" for name, part in parts.items()
    )


def _fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """Without maps, which the page has no use for."""
    for field in message.fields:
        if field.message_type is None or not field.message_type.GetOptions().map_entry:
            yield field


def _reached(roots: list[Descriptor]) -> Iterator[Descriptor]:
    found = dict.fromkeys(roots)
    waiting = list(found)
    # The list grows while it is read.
    for message in waiting:
        yield message
        nested = [field.message_type for field in _fields(message) if field.message_type is not None]
        new = [one for one in nested if one not in found]
        found |= dict.fromkeys(new)
        waiting += dict.fromkeys(new)


def _method(method: MethodDescriptor) -> list[str]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    return [path, method.input_type.full_name, method.output_type.full_name]


def _field(field: FieldDescriptor) -> list[Any]:
    message = field.message_type.full_name if field.message_type else ""
    repeated = field.label == FieldDescriptor.LABEL_REPEATED
    return [field.number, _TYPES[field.type], message, repeated]


def _names(enum: EnumDescriptor) -> dict[int, str]:
    """Without the name of the enum, with which all of them begin."""
    first = enum.values[0].name
    prefix = first.removesuffix("UNSPECIFIED") if first.endswith("UNSPECIFIED") else ""
    return {value.number: value.name.removeprefix(prefix) for value in enum.values}


def _lines(part: dict[Any, Any]) -> str:
    return "".join(f"  {json.dumps(name)}: {json.dumps(value)},\n" for name, value in part.items())


if __name__ == "__main__":
    FILE.write_text(schema())

"""Prints the responses of a bank."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson

from openbank.cli.terminal import shown

Columns: TypeAlias = Mapping[str, str]
"""The headings of a table, and the field under each."""


class Printout(NamedTuple):
    responses: Iterable[Any]
    """The response, or the pages of a list."""
    message: Any
    """The class of the responses."""
    field: str
    """The field of a response that has the resource or, where it is repeated, the resources. Empty for the response."""
    columns: Columns | None = None
    """The table of a list."""
    words: Iterable[str] | None = None
    """What is printed for people, instead of a table."""
    words_before: Iterable[str] = ()
    """What is printed for people before the table."""

    @property
    def is_list(self) -> bool:
        return bool(self.field) and self._field.label == FieldDescriptor.LABEL_REPEATED

    @property
    def resource(self) -> Descriptor:
        """The type of the resources."""
        message: Descriptor = self._field.message_type if self.field else self.message.DESCRIPTOR
        return message

    def items(self) -> Iterator[Any]:
        for response in self.responses:
            value = getattr(response, self.field) if self.field else response
            yield from value if self.is_list else (value,)

    @property
    def _field(self) -> FieldDescriptor:
        field: FieldDescriptor = self.message.DESCRIPTOR.fields_by_name[self.field]
        return field


def one(response: Any, field: str) -> Printout:
    """The answer that has one resource."""
    return Printout((response,), type(response), field)


def whole(response: Any) -> Printout:
    """The answer that is its response."""
    return Printout((response,), type(response), "")


def in_words(response: Any, words: Iterable[str], field: str = "") -> Printout:
    """A response that people get in words."""
    return Printout((response,), type(response), field, words=words)


def print_answer(answer: Printout, flags: argparse.Namespace) -> None:
    """Prints in the format that was typed, or else in that of what standard output is."""
    is_terminal = sys.stdout.isatty()
    format = flags.output or ("table" if is_terminal else flags.format_elsewhere)
    for line in _lines(answer, format, flags):
        print(line, flush=is_terminal)


def _lines(answer: Printout, format: str, flags: argparse.Namespace) -> Iterable[str]:
    if format == "json":
        return (_json(_in_one(answer), indent=2),)
    if format == "jsonl":
        return (_json(item) for item in answer.items())
    if format == "csv":
        from openbank.cli.output.csv_rows import csv_lines

        return csv_lines(answer, flags.time_format)
    if answer.words is not None:
        return map(shown, answer.words)
    from openbank.cli.output.tables import table_lines

    return chain(map(shown, answer.words_before), table_lines(answer, flags.time_format, flags.color))


def _in_one(answer: Printout) -> Any:
    whole = answer.message()
    for response in answer.responses:
        whole.MergeFrom(response)
        if "next_page_token" in whole.DESCRIPTOR.fields_by_name:
            whole.ClearField("next_page_token")
    return whole


def _json(message: Any, indent: int | None = None) -> str:
    """In ASCII: whatever a text has in it, it cannot control a terminal."""
    return MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=indent
    )

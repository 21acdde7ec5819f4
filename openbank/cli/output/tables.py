"""Tables for people: plain, or by `rich` where it is installed and the output is a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from openbank.cli.output.printout import Printout
from openbank.cli.output.text_table import GAP, Column, plain_table
from openbank.cli.output.values import field_at, paths, text_of, times_in, value_at
from openbank.cli.terminal import is_coloured
from openbank.common.v1.money_pb2 import Money

UNSET = "-"


def table_lines(answer: Printout, time_format: str, color: str) -> Iterator[str]:
    times = times_in(time_format)
    coloured = is_coloured(sys.stdout, color)
    if not answer.is_list:
        for item in answer.items():
            yield from _details([(path, text_of(value_at(item, path), times)) for path in paths(answer.resource)])
        return
    fields = answer.columns or {}
    columns = [_column(answer, heading, path) for heading, path in fields.items()]
    rows = [[text_of(value_at(item, path), times) or UNSET for path in fields.values()] for item in answer.items()]
    if not rows:
        print(f"openbank: no {answer.field}", file=sys.stderr)
        return
    columns_max = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if columns_max is not None and (by_rich := _rich_table(columns, rows, columns_max, coloured)):
        yield from by_rich
    else:
        yield from plain_table(columns, rows, columns_max, coloured)


def _column(answer: Printout, heading: str, path: str) -> Column:
    field = field_at(answer.resource, path)
    is_money = field.message_type is not None and field.message_type.full_name == Money.DESCRIPTOR.full_name
    is_text = field.type == field.TYPE_STRING and not path.endswith(("_id", "_number", "aggregate"))
    is_number = is_money or field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
    return Column(heading, is_number, is_text)


def _details(fields: Sequence[tuple[str, str]]) -> Iterator[str]:
    """One field a line; those that are not set are left out."""
    names = max((len(name) for name, text in fields if text), default=0)
    for name, text in fields:
        if text:
            yield f"{name.ljust(names)}{GAP}{text}"


def _rich_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], columns_max: int, coloured: bool
) -> Sequence[str]:
    """Empty where `rich` is not installed."""
    try:
        from openbank.cli.output.rich_table import rich_table
    except ModuleNotFoundError:
        return ()
    return rich_table(columns, rows, columns_max, coloured)

"""Tables for people: plain, or by `rich` where it is installed and the output is a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from openbank.cli.output import Printout
from openbank.cli.output.values import field_at, paths, text_of, times_in, value_at
from openbank.cli.terminal import BOLD, RESET, STYLES, cut, is_coloured, width
from openbank.common.v1.money_pb2 import Money

UNSET = "-"
GAP = "  "
NARROWEST = 8
"""A text is not cut to less than this, however narrow the terminal is."""
COLOURS = {
    "ACTIVE": "green",
    "COMPLETED": "green",
    "OPEN": "green",
    "DELIVERING": "green",
    "FROZEN": "red",
    "DEBITS_FROZEN": "yellow",
    "CREDITS_FROZEN": "yellow",
    "IN_TRANSIT": "yellow",
    "RETURNING": "yellow",
    "RETURNED": "red",
}
"""The states that catch the eye."""


class Column(NamedTuple):
    heading: str
    is_number: bool
    is_text: bool
    """Free text, which may be cut where the terminal is narrow. Ids, amounts and states never are."""


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


def plain_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], columns_max: int | None, coloured: bool
) -> Iterator[str]:
    """Aligned columns under their headings. Free texts are cut until a row fits in `columns_max`, if they can be."""
    headings = [column.heading for column in columns]
    widths = [max(map(width, cells)) for cells in zip(headings, *rows, strict=True)]
    _narrow(widths, columns, columns_max)
    yield _row(headings, columns, widths, lambda text, _: f"{BOLD}{text}{RESET}" if coloured else text)
    for row in rows:
        yield _row(row, columns, widths, _colour if coloured else lambda text, _: text)


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


def _narrow(widths: list[int], columns: Sequence[Column], columns_max: int | None) -> None:
    if columns_max is None:
        return
    over = sum(widths) + len(GAP) * (len(widths) - 1) - columns_max
    texts = [at for at, column in enumerate(columns) if column.is_text]
    while over > 0 and (widest := max((widths[at] for at in texts), default=0)) > NARROWEST:
        at = next(at for at in texts if widths[at] == widest)
        widths[at] -= 1
        over -= 1


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], colour: Any) -> str:
    texts = []
    for text, column, size in zip(cells, columns, widths, strict=True):
        short = cut(text, size)
        padding = " " * (size - width(short))
        painted = colour(short, text)
        texts.append(padding + painted if column.is_number else painted + padding)
    return GAP.join(texts).rstrip()


def _colour(text: str, whole: str) -> str:
    return f"{STYLES[COLOURS[whole]]}{text}{RESET}" if whole in COLOURS else text


def _rich_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], columns_max: int, coloured: bool
) -> Sequence[str]:
    """Empty where `rich` is not installed."""
    try:
        from openbank.cli.output.rich_table import rich_table
    except ModuleNotFoundError:
        return ()
    return rich_table(columns, rows, columns_max, coloured)

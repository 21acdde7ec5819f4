"""CSV for programs and spreadsheets: RFC 4180, with a column for every field and two for an amount."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

from openbank.cli.output import Printout
from openbank.cli.output.values import TimeFormat, decimal, field_at, paths, text_of, times_in, value_at
from openbank.common.v1.money_pb2 import Money

_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
"""Spreadsheets take what begins with one of these for a formula, and would run one that stands in a description."""
_ESCAPE = "'"


def csv_lines(answer: Printout, time_format: str) -> Iterator[str]:
    fields = [(path, _is_money(answer, path)) for path in paths(answer.resource)]
    names = [name for path, is_money in fields for name in ((path, f"{path}_currency") if is_money else (path,))]
    times = times_in(time_format, timespec="microseconds")
    yield _line(names)
    for item in answer.items():
        yield _line([cell for path, is_money in fields for cell in _cells(value_at(item, path), is_money, times)])


def _is_money(answer: Printout, path: str) -> bool:
    message = field_at(answer.resource, path).message_type
    return message is not None and message.full_name == Money.DESCRIPTOR.full_name


def _cells(value: Any, is_money: bool, times: TimeFormat) -> list[str]:
    if is_money:
        return [decimal(value), value.currency_code] if value is not None else ["", ""]
    text = text_of(value, times)
    return [_harmless(text) if isinstance(value, str) else text]


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula. To get the text back, remove one leading apostrophe."""
    return _ESCAPE + text if text.lstrip().startswith((*_FORMULA, _ESCAPE)) else text


def _line(cells: list[str]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()

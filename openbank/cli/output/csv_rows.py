"""CSV for programs and spreadsheets: RFC 4180, with a column for every field and two for an amount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openbank.cli.output.printout import Printout
from openbank.cli.output.text import csv_line, harmless
from openbank.cli.output.values import TimeFormat, decimal, field_at, paths, text_of, times_in, value_at
from openbank.common.v1.money_pb2 import Money


def csv_lines(answer: Printout, time_format: str) -> Iterator[str]:
    fields = [(path, _is_money(answer, path)) for path in paths(answer.resource)]
    names = [name for path, is_money in fields for name in ((path, f"{path}_currency") if is_money else (path,))]
    times = times_in(time_format, timespec="microseconds")
    yield csv_line(names)
    for item in answer.items():
        yield csv_line([cell for path, is_money in fields for cell in _cells(value_at(item, path), is_money, times)])


def _is_money(answer: Printout, path: str) -> bool:
    message = field_at(answer.resource, path).message_type
    return message is not None and message.full_name == Money.DESCRIPTOR.full_name


def _cells(value: Any, is_money: bool, times: TimeFormat) -> list[str]:
    if is_money:
        return [decimal(value), value.currency_code] if value is not None else ["", ""]
    text = text_of(value, times)
    return [harmless(text) if isinstance(value, str) else text]

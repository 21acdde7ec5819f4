"""Answers that are no messages of the bank: rows of texts."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

from openbank.cli.output.text import csv_line, harmless, one_line
from openbank.cli.output.text_table import Column, plain_table
from openbank.cli.terminal import is_coloured

UNSET = "-"


def print_rows(names: Sequence[str], rows: Sequence[Mapping[str, str]], flags: argparse.Namespace) -> None:
    """Prints the fields `names` of each row in the format that was typed."""
    for line in _lines(names, rows, flags):
        print(line)


def _lines(names: Sequence[str], rows: Sequence[Mapping[str, str]], flags: argparse.Namespace) -> Iterator[str]:
    is_terminal = sys.stdout.isatty()
    match flags.output or ("table" if is_terminal else flags.format_elsewhere):
        case "json":
            yield json.dumps([dict(row) for row in rows], indent=2)
        case "jsonl":
            yield from (json.dumps(dict(row)) for row in rows)
        case "csv":
            yield csv_line(names)
            for row in rows:
                yield csv_line([harmless(one_line(row.get(name, ""))) for name in names])
        case _:
            columns = [Column(name.upper().replace("_", " "), is_number=False, is_text=False) for name in names]
            columns_max = shutil.get_terminal_size().columns if is_terminal else None
            cells = [[one_line(row.get(name, "")) or UNSET for name in names] for row in rows]
            if cells:
                yield from plain_table(columns, cells, columns_max, is_coloured(sys.stdout, flags.color))

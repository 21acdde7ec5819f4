"""Texts as cells of tables and CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from openbank.cli.terminal import shown

_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
"""Spreadsheets take what begins with one of these for a formula, and would run one that stands in a description."""
_ESCAPE = "'"


def one_line(text: str) -> str:
    """Without what controls a terminal. Descriptions may have line breaks and tabs, which would break a table."""
    return shown(" ".join(text.splitlines()).replace("\t", " "))


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula. To get the text back, remove one leading apostrophe."""
    return _ESCAPE + text if text.lstrip().startswith((*_FORMULA, _ESCAPE)) else text


def csv_line(cells: Sequence[str]) -> str:
    """A record of RFC 4180."""
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()

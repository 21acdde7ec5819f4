"""Plain tables: aligned columns, texts cut where the terminal is narrow, colours where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from openbank.cli.terminal import BOLD, RESET, STYLES, cut, width

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

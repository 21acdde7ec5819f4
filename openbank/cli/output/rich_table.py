"""Tables by `rich`: texts that do not fit are wrapped, not cut."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openbank.cli.output.text_table import COLOURS, Column
from openbank.cli.terminal import width

TEXT_MIN = 12
"""Texts are wrapped to no less than this."""
_PADDING = 2


def rich_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], columns_max: int, coloured: bool
) -> Sequence[str]:
    """The lines of a table that is at most `columns_max` wide, if its ids and amounts let it."""
    table = Table(box=None, padding=(0, _PADDING, 0, 0), pad_edge=False, header_style="bold")
    least = 0
    for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
        size = max(map(width, (column.heading, *cells)))
        least += _PADDING + (min(size, TEXT_MIN) if column.is_text else size)
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=not column.is_text,
            min_width=None if column.is_text else size,
            overflow="fold",
        )
    for row in rows:
        # Text has no markup: what a description says is not read as styles.
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    output = StringIO()
    Console(
        file=output,
        width=max(columns_max, least),
        force_terminal=True,
        no_color=not coloured,
        color_system="standard" if coloured else None,
    ).print(table)
    return [line.rstrip() for line in output.getvalue().splitlines() if line.strip()]

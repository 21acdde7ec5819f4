"""The results as a table and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.measure import Measure, Row

BEGIN, END = "<!-- results -->", "<!-- end of results -->"

_ROW = 28
_LEFT = 560
_SCALE = 280
_WIDTH = 1000
_SHOWN_MAX = 1.3
"""Where a bar ends, in aims: twice the aim and ten times the aim are both enough, or both far too much."""


def table(measures: Sequence[Measure]) -> str:
    """The day stands with results that are older than the newest."""
    newest = max((measure.day for measure in measures), default="")
    lines = ["| row | result | spread | aim | | as measured |", "|---|---|---|---|---|---|"]
    for measure in measures:
        row = measure.row
        cells = [
            row.name,
            "-" if measure.value is None else f"**{_show(measure.value, row.unit)}**",
            _spread(measure),
            f"{_show(row.aim, row.unit)} {'at most' if row.at_most else 'at least'}",
            {True: "reached", False: "not yet", None: "not measured"}[measure.reached],
            measure.note + (f"; {measure.day}" if measure.values and measure.day != newest else ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def lines(measures: Sequence[Measure]) -> str:
    """For a terminal."""
    return "\n".join(
        f"{'-' if measure.value is None else _show(measure.value):>10}  {measure.row.name} ({measure.note})"
        for measure in measures
    )


def _spread(measure: Measure) -> str:
    if len(measure.values) < 2:
        return ""
    low, high = measure.spread
    return f"{_show(low)} to {_show(high)}" + (f", wide after {len(measure.values)} rounds" if measure.wide else "")


def _show(value: float, unit: str = "") -> str:
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    return f"{digits} {unit}".rstrip()


def write_page(path: Path, measures: Sequence[Measure]) -> None:
    """Puts the table into the page between its marks; what is around it is written by hand."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    newest = max(measure.day for measure in measures)
    path.write_text(f"{before}{BEGIN}\n{newest}, {machine()}.\n\n{table(measures)}\n{END}{after}")


def write_plot(path: Path, measures: Sequence[Measure]) -> None:
    """A bar a measure, as long as it has come of its aim: right of the line is reached."""
    height = _ROW * (len(measures) + 1) + 12
    line = _LEFT + _SCALE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{line}" y="16" text-anchor="middle" fill="#333333">aim</text>',
    ]
    for number, measure in enumerate(measures, 1):
        parts += _bar(measure, number * _ROW)
    parts.append(f'<path d="M{line} 22V{height - 8}" stroke="#333333" stroke-dasharray="4 3"/>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _bar(measure: Measure, top: int) -> list[str]:
    middle = top + _ROW // 2 + 4
    label = f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end" fill="#333333">{escape(measure.row.name)}</text>'
    if measure.value is None:
        return [label]
    length = _SCALE * min(_share(measure.value, measure.row), _SHOWN_MAX)
    colour = "#2f7d4f" if measure.reached else "#c0722a"
    shown = escape(_show(measure.value, measure.row.unit))
    return [
        label,
        f'<rect x="{_LEFT}" y="{top + 5}" width="{length:.0f}" height="{_ROW - 10}" fill="{colour}"/>',
        f'<text x="{_LEFT + length + 6:.0f}" y="{middle}" fill="#333333">{shown}</text>',
    ]


def _share(value: float, row: Row) -> float:
    """How far it has come of the aim; an aim of nothing is either reached or not."""
    of, to = (row.aim, value) if row.at_most else (value, row.aim)
    return of / to if to else _SHOWN_MAX

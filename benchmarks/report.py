"""The results as a table, as JSON and as a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Measure

BEGIN, END = "<!-- results -->", "<!-- end of results -->"

_ROW = 28
_LEFT = 430
_SCALE = 280
_WIDTH = 860
_SHOWN_MAX = 1.3
"""Where a bar ends, in aims: twice the aim and ten times the aim are both enough, or both far too much."""


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) / 1e6 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    software = f"Python {platform.python_version()}, grpcio {version('grpcio')}"
    return f"{os.cpu_count()} CPUs ({model or platform.machine()}), {memory:.0f} GB, {platform.system()}, {software}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def table(measures: Sequence[Measure]) -> str:
    lines = ["| measure | result | spread | aim | | as measured |", "|---|---|---|---|---|---|"]
    for measure in measures:
        cells = [
            measure.name,
            "-" if measure.value is None else f"**{_show(measure.value, measure.unit)}**",
            _spread(measure),
            _aim(measure),
            {True: "reached", False: "not yet", None: "not measured"}[measure.reached],
            measure.note,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(measure: Measure) -> str:
    if len(measure.values) < 2:
        return ""
    return f"{_show(min(measure.values))} to {_show(max(measure.values))}"


def _aim(measure: Measure) -> str:
    return f"{_show(measure.aim, measure.unit)} {'at most' if measure.at_most else 'at least'}"


def _show(value: float, unit: str = "") -> str:
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    return f"{digits} {unit}".rstrip()


def write_json(path: Path, measures: Sequence[Measure]) -> None:
    results = {
        "machine": machine(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "measures": [
            {
                "measure": measure.name,
                "value": measure.value,
                "values": list(measure.values),
                "unit": measure.unit or "ratio",
                "aim": measure.aim,
                "at_most": measure.at_most,
                "reached": measure.reached,
                "note": measure.note,
            }
            for measure in measures
        ],
    }
    path.write_text(json.dumps(results, indent=2) + "\n")


def write_page(path: Path, measures: Sequence[Measure]) -> None:
    """Puts the table into the page between its marks; what is around it is written by hand."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    day = datetime.now(UTC).date().isoformat()
    path.write_text(f"{before}{BEGIN}\n{day}, {machine()}.\n\n{table(measures)}\n{END}{after}")


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
    label = f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end" fill="#333333">{escape(measure.name)}</text>'
    if measure.value is None:
        return [label]
    share = measure.aim / measure.value if measure.at_most else measure.value / measure.aim
    length = _SCALE * min(share, _SHOWN_MAX)
    colour = "#2f7d4f" if measure.reached else "#c0722a"
    shown = escape(_show(measure.value, measure.unit))
    return [
        label,
        f'<rect x="{_LEFT}" y="{top + 5}" width="{length:.0f}" height="{_ROW - 10}" fill="{colour}"/>',
        f'<text x="{_LEFT + length + 6:.0f}" y="{middle}" fill="#333333">{shown}</text>',
    ]

"""Runs an experiment, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks.measure import Experiment, Found, Measure, NotMeasured, Row, is_wide, median
from benchmarks.scratch import Scratch


def measure(experiment: Experiment, scratch: Scratch, fixed: int | None = None) -> list[Measure]:
    """One result for each row. While one of them is wide, it is measured again, up to the experiment's bound. With
    `fixed`, as many rounds as that instead."""
    least, most = (fixed, fixed) if fixed else (experiment.rounds, experiment.rounds_max)
    found: list[Sequence[Found]] = []
    try:
        with scratch.inner() as inner, experiment.start(inner) as measure_once:
            while len(found) < least or (len(found) < most and _any_wide(found)):
                found.append(measure_once())
    except NotMeasured as reason:
        return [Measure(row, [], str(reason), _today()) for row in experiment.rows]
    return [result(row, of_row) for row, of_row in zip(experiment.rows, zip(*found, strict=True), strict=True)]


def _any_wide(found: Sequence[Sequence[Found]]) -> bool:
    return any(is_wide([one.value for one in of_row]) for of_row in zip(*found, strict=True))


def result(row: Row, found: Sequence[Found]) -> Measure:
    figures = [median(figures) for figures in zip(*(one.figures for one in found), strict=True)]
    return Measure(row, [one.value for one in found], row.note.format(*figures), _today())


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

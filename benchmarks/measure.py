"""What is measured: rows, each with its aim, and what the rounds found of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

from benchmarks.scratch import Scratch

ROUNDS = 5
CONFIDENCE = 0.9
WIDE = 0.25
"""The largest spread of a result, as a share of it. Rows beyond it are measured for more rounds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    aim: float
    note: str = ""
    """A format of the medians of `Found.figures`."""
    at_most: bool = False
    """Whether less is better."""
    unit: str = ""
    """Empty for a ratio."""


class Found(NamedTuple):
    """What one round found for one row."""

    value: float
    figures: tuple[float, ...] = ()
    """For the row's note."""


def ratio(one: float, other: float, *more: float) -> Found:
    return Found(one / other, (one, other, *more))


Round = Callable[[], Sequence[Found]]
"""Measures once; gives a figure for each row of its experiment."""


class NotMeasured(Exception):
    """This machine cannot run the experiment; the message says why."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Rows that are measured together: what slows the machine for a while slows all that is compared."""

    rows: Sequence[Row]
    start: Callable[[Scratch], AbstractContextManager[Round]]
    rounds: int
    long: bool
    """Whether it is left to `make bench-long`."""

    @property
    def rounds_max(self) -> int:
        """Enough for the interval of the median to leave out the extremes."""
        return 2 * self.rounds + 2


def experiment(
    *rows: Row, rounds: int = ROUNDS, long: bool = False
) -> Callable[[Callable[[Scratch], Iterator[Round]]], Experiment]:
    """Makes an experiment of a generator that starts the servers, yields the round, and stops the servers."""

    def make(start: Callable[[Scratch], Iterator[Round]]) -> Experiment:
        return Experiment(rows, contextmanager(start), rounds, long)

    return make


@dataclass(frozen=True, slots=True)
class Measure:
    """The result of one row: `values` has the figure of each round, or is empty and `note` says why."""

    row: Row
    values: Sequence[float]
    note: str
    day: str

    @property
    def value(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def spread(self) -> tuple[float, float]:
        """The 90% interval of the median: of fewer than eight rounds, the lowest and the highest."""
        return interval(self.values, CONFIDENCE)

    @property
    def wide(self) -> bool:
        return bool(self.values) and is_wide(self.values)

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.row.aim if self.row.at_most else self.value >= self.row.aim


def is_wide(values: Sequence[float]) -> bool:
    low, high = interval(values, CONFIDENCE)
    return high - low > WIDE * abs(median(values))


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """An interval that contains the median of the values' distribution, whatever that is, with this probability."""
    ordered, count = sorted(values), len(values)
    # As many values are below the median as of `count` tosses of a coin show heads.
    outside, rank = 0.0, 0
    while rank < count // 2 and 2 * (outside + comb(count, rank) / 2**count) <= 1 - confidence:
        outside += comb(count, rank) / 2**count
        rank += 1
    low = max(0, rank - 1)
    return ordered[low], ordered[count - 1 - low]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)

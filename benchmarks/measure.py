"""What a benchmark finds: a figure beside its aim."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

Run = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: `values` has the figure of each round, or is empty where it could not be measured, and `note` why."""

    name: str
    values: Sequence[float]
    aim: float
    note: str = ""
    at_most: bool = False
    """Whether less is better."""
    unit: str = ""
    """Empty for a ratio."""

    @property
    def value(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.aim if self.at_most else self.value >= self.aim


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Round by round: what slows the machine for a while slows both of a round."""
    return [one / other for one, other in zip(of, to, strict=True)]


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """An interval that has the median of what the values are drawn from, with at least this probability; of any
    distribution, from the order of the values."""
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

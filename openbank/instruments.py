"""What the bank's parts measure while they work: plain numbers. `metrics` reads them; no part knows how they are shown.

A counter is an `int`, or a `collections.Counter` by label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for durations: from a read in memory to a call that waits for a store."""
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
"""Bounds for how many things were done together."""


class Histogram:
    """How often a value was within each bound. `observe` takes about 0.15 us."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        """`bounds` are upper ones, in ascending order, each included."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bound, not added up; the last one is of all values above."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

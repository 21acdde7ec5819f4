"""A metric family: a name, what it means, and where its values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from openbank.instruments import Histogram
from openbank.metrics.scrape import Scrape


class MetricType(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Labels = tuple[str, ...]
"""The values of a family's labels, in their order."""
Samples = Iterable[tuple[Labels, float | Histogram]]


class Family(NamedTuple):
    name: str
    """As it is queried: a counter ends in `_total`."""
    type: MetricType
    help: str
    """One sentence or more, for docs/reference and the exposition."""
    read: Callable[[Scrape], Samples]
    """Yields nothing where the value is not known."""
    labels: Labels = ()
    """Each has values of a closed set: of the contract, the settings or the code."""

    @property
    def unit(self) -> str:
        name = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "events") if name.endswith(f"_{unit}")), "")


def one(value: float | Histogram | None) -> Samples:
    """The sample of a family without labels; none for None."""
    return [] if value is None else [((), value)]


def each(values: Mapping[str, float] | Mapping[str, int]) -> Samples:
    """A sample for each value of the only label."""
    return [((label,), value) for label, value in sorted(values.items())]

"""Reads a bank's metrics, and what has changed between two readings."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from openbank.cli.terminal import shown

ANSWER_SECONDS = 3.0
BYTES_MAX = 8 << 20

MetricLabels: TypeAlias = tuple[tuple[str, str], ...]


class NoMetrics(Exception):
    """The message says why."""


@dataclass(frozen=True, slots=True)
class MetricsReading:
    at: float
    """In seconds of the monotonic clock."""
    values: Mapping[str, Mapping[MetricLabels, float]]

    def value(self, name: str, **labels: str) -> float | None:
        """None where the bank does not report it."""
        return self.values.get(name, {}).get(tuple(sorted(labels.items())))

    def total(self, name: str) -> float | None:
        """Over all labels."""
        values = self.values.get(name)
        return sum(values.values()) if values else None

    def by_label(self, name: str, label: str) -> Iterator[tuple[str, float]]:
        for labels, value in self.values.get(name, {}).items():
            yield dict(labels).get(label, ""), value

    def rate(self, before: MetricsReading | None, name: str) -> float | None:
        """How much a counter grows in a second. A restart sets counters back: then it counts from zero."""
        now, then = self.total(name), before.total(name) if before else None
        if now is None or then is None or before is None or self.at <= before.at:
            return None
        return (now - then if now >= then else now) / (self.at - before.at)


def read(url: str) -> MetricsReading:
    """Raises NoMetrics."""
    request = urllib.request.Request(url, headers={"Accept": "text/plain"})
    # Not by a proxy: metrics are served within the operator's network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            return MetricsReading(time.monotonic(), parsed(response.read(BYTES_MAX).decode()))
    except urllib.error.HTTPError as error:
        raise NoMetrics(f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        raise NoMetrics(shown(getattr(error.reason, "strerror", None) or str(error.reason))) from None
    except (OSError, http.client.HTTPException) as error:
        raise NoMetrics(shown(getattr(error, "strerror", None) or str(error) or type(error).__name__)) from None
    except ValueError:
        raise NoMetrics("what is served there are no metrics") from None


def parsed(text: str) -> Mapping[str, Mapping[MetricLabels, float]]:
    """The values by name and labels. Raises ValueError."""
    values: dict[str, dict[MetricLabels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # Only what is counted and measured: buckets are many, and not shown.
            if not sample.name.endswith("_bucket"):
                values.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    if not values:
        raise ValueError("no metrics")
    return values

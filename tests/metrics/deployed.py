"""Dashboards and alerts as they are deployed, and the metrics that they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openbank.metrics.families import FAMILIES
from openbank.metrics.family import MetricType

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = PROMETHEUS / "openbank.rules.yml"
RULES_TEST = PROMETHEUS / "openbank.rules.test.yml"
DASHBOARD = ROOT / "deploy/grafana/openbank.json"

NAME = re.compile(r"\b(?:openbank_|rpc_)\w+")
LABEL_NAMES = {label for family in FAMILIES for label in family.labels}


def series_names() -> set[str]:
    """The names of all samples that a bank exposes."""
    names: set[str] = set()
    for family in FAMILIES:
        if family.type is MetricType.HISTOGRAM:
            names |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        else:
            names.add(family.name)
    return names


def asked_for(expression: str) -> set[str]:
    """The names of metrics in an expression; labels look like names."""
    return set(NAME.findall(expression)) - LABEL_NAMES


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> Iterator[str]:
    """What the dashboard asks, as Prometheus gets it from Grafana."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")


def alerts() -> list[str]:
    return re.findall(r"^ *- alert: (\w+)$", RULES.read_text(), re.MULTILINE)

"""Dashboards and alerts ask for what a bank exposes, and the docs explain every alert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.metrics.deployed import (
    DASHBOARD,
    ROOT,
    RULES,
    RULES_TEST,
    alerts,
    asked_for,
    expressions,
    panels,
    series_names,
)

OPERATIONS = (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize("file", [DASHBOARD, RULES, RULES_TEST], ids=lambda file: file.name)
def test_every_metric_that_is_asked_for_exists(file: Path) -> None:
    text = file.read_text()
    assert asked_for(text)
    assert asked_for(text) - series_names() == set()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for expression in expressions() for name in asked_for(expression)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in series_names()} == families


def test_panels_have_titles_and_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
        assert max(x for x, _ in cells) < 24


def test_each_alert_is_explained_in_order() -> None:
    assert re.findall(r"^### (OpenBank\w+)$", OPERATIONS, re.MULTILINE) == alerts()
    assert len(set(alerts())) == len(alerts())


def test_each_alert_is_tested_both_ways() -> None:
    tested = re.findall(r"^  - name: (\w+) is (raised|not raised)$", RULES_TEST.read_text(), re.MULTILINE)
    assert sorted(tested) == sorted((alert, way) for alert in alerts() for way in ("raised", "not raised"))

"""How far views are said to have come, and when they will be there."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.views.progress import Progress


class Scene:
    """Views that advance as time passes."""

    def __init__(self, goal: int) -> None:
        self.views: Any = SimpleNamespace(place=BEGINNING)
        self.time = 100.0
        self.progress = Progress(self.views, LogPosition(goal), lambda: self.time)

    def pass_(self, seconds: float, per_second: float) -> None:
        start = self.views.place.position
        for quarter in range(1, int(4 * seconds) + 1):
            self.time += 0.25
            self.views.place = LogPosition(start + int(quarter * per_second / 4))
            self.progress.sample()


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Scene:
    caplog.set_level(logging.INFO, "openbank.views.progress")
    return Scene(goal=1_000)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    return [(record.message, record.values) for record in caplog.records]  # type: ignore[attr-defined]


def test_an_unknown_rate_is_not_shown(scene: Scene) -> None:
    scene.progress.sample()
    assert scene.progress.seconds_to(1_000) is None
    scene.pass_(5, per_second=0)
    assert scene.progress.seconds_to(1_000) is None


def test_the_estimate_is_the_rest_at_the_rate_of_the_last_seconds(scene: Scene) -> None:
    scene.progress.sample()
    scene.pass_(2, per_second=100)
    assert scene.progress.seconds_to(1_000) == pytest.approx(8)
    assert scene.progress.seconds_to(600) == pytest.approx(4)
    scene.pass_(12, per_second=10)
    assert scene.progress.seconds_to(1_000) == pytest.approx(68)


def test_no_estimate_is_given_for_views_that_have_caught_up_once(scene: Scene) -> None:
    scene.progress.sample()
    scene.pass_(5, per_second=200)
    assert scene.progress.caught_up
    assert scene.progress.seconds_to(2_000) is None


def test_the_log_says_every_five_seconds_how_far_how_fast_and_when(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.progress.sample()
    scene.pass_(10, per_second=100)
    behind = [values for message, values in said(caplog) if message == "views catch up"]
    assert behind == [
        {"position": 100, "of": 1_000, "percent": 10, "per_second": 100, "seconds_left": 9},
        {"position": 600, "of": 1_000, "percent": 60, "per_second": 100, "seconds_left": 4},
    ]
    assert said(caplog)[-1] == ("views have caught up", {"position": 1_000, "seconds": 10})


def test_views_that_stand_still_are_reported(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.progress.sample()
    scene.pass_(1, per_second=0)
    assert said(caplog) == [("views catch up", {"position": 0, "of": 1_000, "percent": 0})]


def test_catching_up_with_a_few_events_is_not_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.progress.sample()
    scene.pass_(0.5, per_second=2_000)
    assert said(caplog) == []


def test_views_that_are_begun_again_by_another_instance_are_behind(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.progress.sample()
    scene.pass_(6, per_second=200)
    scene.views.place = BEGINNING
    scene.progress.sample()
    assert not scene.progress.caught_up
    scene.pass_(2, per_second=100)
    assert scene.progress.seconds_to(1_200) == pytest.approx(10)
    assert said(caplog)[-1][1]["of"] == 1_200

"""A short form of `make feeds`: the long one is run by hand."""

from __future__ import annotations

from pathlib import Path

from tests.feeds.long_run.run import Plan, Run


async def test_every_watch_is_given_the_log_while_everything_under_it_breaks(tmp_path: Path) -> None:
    plan = Plan(
        seconds=15,
        watchers=25,
        writes_per_second=100,
        seed=7,
        accounts_each=5,
        silence_seconds=2,
        life_seconds_max=6.0,
        calm_seconds=(0.2, 1.0),
    )
    figures = await Run(plan, tmp_path, print).run()
    assert figures.counts["watches held against the log"] >= plan.watchers
    assert figures.broken["stops"] + figures.broken["kills"] >= 1
    assert figures.writes > 0

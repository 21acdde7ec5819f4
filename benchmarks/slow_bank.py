"""The bank for a counter under which everything takes fifty times as long: its waits take fifty times as long, too.

A commit waits up to 10 ms for other appends, an account up to 5 ms for other commands, the views up to 20 ms for more
changes. Under callgrind these waits would end long before the other calls arrive. A commit would hold three deposits
instead of fourteen to thirty-one: the counter would count commits that no real load makes.
"""

from __future__ import annotations

import runpy
import sys

import openbank.aggregates.aggregate
import openbank.eventstore.sqlite.commits
import openbank.views.sqlite.views

SLOWER = 50


def slow_down() -> None:
    openbank.eventstore.sqlite.commits.GATHER_SECONDS_MAX *= SLOWER
    openbank.aggregates.aggregate.GATHER_SECONDS_MAX *= SLOWER
    openbank.views.sqlite.views.REST_SECONDS_MAX *= SLOWER


if __name__ == "__main__":
    slow_down()
    sys.argv[0] = "openbank"
    runpy.run_module("openbank", run_name="__main__")

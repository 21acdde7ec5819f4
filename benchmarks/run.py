"""All benchmarks, each beside its yardstick: `make bench`.

Load comes from outside the server's process. Servers and yardsticks take turns, so that what slows the machine for a
while slows both; figures are medians of the rounds, and ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    batches,
    callers,
    deposits,
    grown,
    holds,
    instructions,
    load,
    long_account,
    metrics,
    reads,
    rebuild,
    report,
    results,
    rounds,
    soak,
    transfers,
)
from benchmarks.eventstoredb import rows as eventstoredb
from benchmarks.feeds import rows as feeds
from benchmarks.machine import machine
from benchmarks.measure import Experiment, Measure
from benchmarks.scratch import Scratch
from benchmarks.servers import ROOT
from benchmarks.stalls import rows as stalls

EXPERIMENTS: Sequence[Experiment] = (
    *deposits.EXPERIMENTS,
    instructions.counted,
    grown.embedded,
    grown.on_eventstoredb,
    grown.not_in_memory,
    *eventstoredb.EXPERIMENTS,
    *reads.EXPERIMENTS,
    *feeds.EXPERIMENTS,
    batches.batches,
    transfers.transfers,
    *holds.EXPERIMENTS,
    *long_account.EXPERIMENTS,
    *rebuild.EXPERIMENTS,
    callers.callers,
    metrics.on_and_off,
    soak.memory,
    *stalls.EXPERIMENTS,
)
"""In the order of the table."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measures the bank.")
    parser.add_argument("--long", action="store_true", help="the rows that take long, instead of all others")
    parser.add_argument("--only", action="append", metavar="WORDS", help="rows with these words, of either kind")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long one load lasts (default: 1.5)")
    parser.add_argument("--rounds", type=int, help="as many for each row, and no more where they differ")
    parser.add_argument("--scratch", type=Path, help="a directory to keep, for the histories that take long to write")
    parser.add_argument("--dry", action="store_true", help="leave docs/ and results.json as they are")
    arguments = parser.parse_args()
    chosen = [one for one in EXPERIMENTS if _is_chosen(one, arguments.only, arguments.long)]
    if not chosen:
        parser.error("no row has these words")
    begin = time.perf_counter()
    load.build()
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        root = arguments.scratch or Path(directory)
        root.mkdir(exist_ok=True)
        measured = _measure(chosen, Scratch(root, root, arguments.seconds), arguments.rounds, not arguments.dry)
    print(f"\n{machine()}\n\n{report.table(measured)}\n\n{(time.perf_counter() - begin) / 60:.1f} minutes")
    if len(measured) < sum(len(one.rows) for one in chosen):
        sys.exit("Some rows failed: see above.")


def _is_chosen(one: Experiment, words: Sequence[str] | None, long: bool) -> bool:
    if words is None:
        return one.long == long
    return any(some.lower() in row.name.lower() for row in one.rows for some in words)


def _measure(chosen: Sequence[Experiment], scratch: Scratch, fixed: int | None, keep: bool) -> list[Measure]:
    """Keeps results after each experiment. One that fails leaves its rows out, and the others are still measured."""
    measured: list[Measure] = []
    for one in chosen:
        begin = time.perf_counter()
        try:
            found = rounds.measure(one, scratch, fixed)
        except (Exception, SystemExit):
            traceback.print_exc()
            continue
        print(f"{time.perf_counter() - begin:.0f} s\n{report.lines(found)}", flush=True)
        measured += found
        if keep:
            results.keep(found)
            shown = results.read(row for each in EXPERIMENTS for row in each.rows)
            report.write_page(ROOT / "docs" / "performance.md", shown)
            report.write_plot(ROOT / "docs" / "performance.svg", shown)
    return measured


if __name__ == "__main__":
    main()

"""All benchmarks, each beside its yardstick: `make bench`.

Load comes from outside the server's process. Servers and yardsticks take turns, so that what slows the machine for a
while slows both; figures are medians of the rounds, and ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import batches, callers, grown, holds, load, long_log, report, serving, soak, statements, transfers
from benchmarks.eventstoredb.rows import rows as eventstoredb
from benchmarks.feeds.rows import rows as feeds
from benchmarks.measure import Measure
from benchmarks.servers import ROOT
from benchmarks.serving import Bench
from benchmarks.stalls.rows import rows as stalls

SERVING: Sequence[Callable[[Bench], Sequence[Measure]]] = (
    serving.deposits,
    lambda bench: [serving.instruction_ratio(bench)],
    serving.few,
    transfers.rows,
    batches.rows,
    holds.rows,
    serving.reads,
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the bank beside its yardsticks.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each time (default: 2)")
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    load.build()
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        measures = _measure(Path(directory), arguments.rounds, arguments.seconds)
    report.write_json(ROOT / "benchmarks" / "results.json", measures)
    if not arguments.keep:
        report.write_page(ROOT / "docs" / "performance.md", measures)
        report.write_plot(ROOT / "docs" / "performance.svg", measures)
    print(f"\n{report.machine()}\n\n{report.table(measures)}\n\n{(time.perf_counter() - begin) / 60:.1f} minutes")


def _measure(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    measures: list[Measure] = []
    with serving.bench(scratch, rounds, seconds) as bench:
        for rows in SERVING:
            measures += _told(rows(bench))
    measures += _told(callers.rows(scratch, rounds, seconds))
    measures += _told(long_log.rows(scratch, rounds, seconds))
    measures += _told(statements.rows(scratch, rounds, seconds))
    measures += _told(grown.rows(scratch, rounds, seconds))
    measures += _told(feeds(scratch, rounds, seconds))
    measures += _told(stalls(scratch, rounds, seconds))
    measures += _told(eventstoredb(scratch, rounds, seconds))
    measures += _told([soak.row()])
    return measures


def _told(measures: Sequence[Measure]) -> Sequence[Measure]:
    for measure in measures:
        value = "-" if measure.value is None else f"{measure.value:,.2f}"
        print(f"{value:>10}  {measure.name} ({measure.note})", flush=True)
    return measures


if __name__ == "__main__":
    main()

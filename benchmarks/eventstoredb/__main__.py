"""python -m benchmarks.eventstoredb"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import load, report
from benchmarks.eventstoredb.rows import ROWS, rows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.eventstoredb", description="Measures the bank on EventStoreDB."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each time (default: 2)")
    parser.add_argument("--only", action="append", choices=ROWS, help="these rows; may be given more than once")
    arguments = parser.parse_args()
    load.build()
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        measures = rows(Path(directory), arguments.rounds, arguments.seconds, arguments.only or ())
    print(f"{report.machine()}\n\n{report.table(measures)}")


if __name__ == "__main__":
    main()

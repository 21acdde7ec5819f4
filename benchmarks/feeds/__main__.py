"""python -m benchmarks.feeds"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import load, report
from benchmarks.feeds.rows import rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feeds", description="Measures feeds.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each time (default: 2)")
    parser.add_argument("--scratch", type=Path, help="a directory to keep, with the long history that takes a while")
    arguments = parser.parse_args()
    load.build()
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        scratch = arguments.scratch or Path(directory)
        print(f"{report.machine()}\n\n{report.table(rows(scratch, arguments.rounds, arguments.seconds))}")


if __name__ == "__main__":
    main()

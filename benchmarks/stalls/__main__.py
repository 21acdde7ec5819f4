"""python -m benchmarks.stalls"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.stalls.rows import rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls", description="Measures stalls.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each time (default: 2)")
    parser.add_argument("--scratch", type=Path, help="a directory to keep, with the long history that takes a while")
    parser.add_argument("--only", default="", help="rows with these words")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        scratch = arguments.scratch or Path(directory)
        measures = rows(scratch, arguments.rounds, arguments.seconds, arguments.only)
    print(f"{report.machine()}\n\n{report.table(measures)}")


if __name__ == "__main__":
    main()

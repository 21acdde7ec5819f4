"""That the benchmarks still fit the code that they measure. What they find is no matter of tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_row_has_a_name_of_its_own() -> None:
    names = "[row.name for one in run.EXPERIMENTS for row in one.rows]"
    run(f"from benchmarks import run; names = {names}; assert len(names) == len(set(names)) > 50, names")


def test_the_waits_of_the_bank_under_callgrind_are_those_that_it_has() -> None:
    run("from benchmarks import slow_bank; slow_bank.slow_down()")

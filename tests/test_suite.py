"""What every run of these tests checks, whether in one process or in several."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FILES_LEFT_MAX

ROOT = Path(__file__).parents[1]
IN_PARALLEL = re.findall(r"^IN_PARALLEL := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
SKIPS = """
import pytest

def test_that_is_skipped():
    pytest.skip("Go is not installed")
"""
LEAKS = f"""
LEFT = []

def test_that_leaks():
    LEFT.extend(open("/dev/null") for _ in range({FILES_LEFT_MAX} + 50))
"""


def run(directory: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_one.py").write_text(test)
    # What pytest-xdist tells its processes is not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, f"--rootdir={directory}", str(directory)],
        cwd=ROOT,
        env=environment | {"CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_in_ci_a_test_that_is_skipped_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS, *IN_PARALLEL[0].split())
    assert "left out: test_one.py::test_that_is_skipped: Skipped: Go is not installed" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


def test_files_that_tests_leave_open_fail_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, LEAKS)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"files are left open: [('/dev/null', {FILES_LEFT_MAX + 50})" in done.stdout

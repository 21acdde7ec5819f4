"""What is built for tests is built outside their limits."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import go_programs
from tests.go_programs import GoProgram


def test_no_tests_limit_runs_while_a_program_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.go").touch()
    (tmp_path / "go.mod").touch()
    (tmp_path / "go.sum").touch()
    limits: list[float] = []

    def compile_to(_: GoProgram, built: Path) -> None:
        limits.append(signal.getitimer(signal.ITIMER_REAL)[0])
        built.touch()

    monkeypatch.setattr(go_programs, "CACHE", tmp_path)
    monkeypatch.setattr(GoProgram, "_compile_to", compile_to)
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    assert GoProgram("program", tmp_path, "a program").build().exists()
    assert limits == [0.0]
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= before

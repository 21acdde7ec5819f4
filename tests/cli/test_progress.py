"""Long commands say how far they are."""

from __future__ import annotations

import asyncio
import time
from io import StringIO
from itertools import groupby
from pathlib import Path

import pytest

from openbank.app import backup, serving
from openbank.cli import progress as module
from openbank.cli.progress import progress
from openbank.config import Settings
from openbank.upkeep.restore import restore
from openbank.upkeep.verify import verify
from tests.callers import Caller
from tests.cli.commands import run
from tests.servers import ServerProcess

Said = list[tuple[str, float | None]]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    async with serving(Settings(data=directory, listen="127.0.0.1:0")) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(20)))
    return directory


def steps_of(said: Said) -> list[str]:
    """What was done, once each; the parts of each step grow to the whole, or are not known."""
    for _, step in groupby(said, key=lambda one: one[0]):
        parts = [part for _, part in step if part is not None]
        assert parts == sorted(parts)
        assert not parts or (parts[0] >= 0 and parts[-1] == 1)
    return [what for what, _ in groupby(what for what, _ in said)]


async def test_backup_restore_and_verify_say_each_step_and_its_part(data: Path, tmp_path: Path) -> None:
    said: Said = []

    def note(what: str, part: float | None) -> None:
        said.append((what, part))

    backup(data, tmp_path / "copy", note)
    assert steps_of(said) == ["copying", "checking pages", "checking events"]
    said.clear()
    restore(tmp_path / "other", tmp_path / "copy", note)
    assert steps_of(said) == ["copying", "checking pages", "checking events"]
    said.clear()
    assert (await verify(Settings(data=data), note)).fault_count == 0
    assert steps_of(said) == ["checking events", "comparing views", "checking indexes"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TERMINAL_SECONDS", 0.01)
    monkeypatch.setattr(module, "ELSEWHERE_SECONDS", 0.01)
    monkeypatch.setattr(module, "REMAINING_AFTER_SECONDS", 0.0)


def reported(stream: StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is written while a step is at 25%."""
    monkeypatch.setattr("sys.stderr", stream)
    ends = time.monotonic() + 10
    with progress() as report:
        while "25%" not in stream.getvalue():
            assert time.monotonic() < ends
            report("copying", 0.25)
    return stream.getvalue()


def test_a_terminal_shows_one_line_that_is_removed_at_the_end(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    written = reported(Terminal(), monkeypatch)
    assert written.startswith("\r\033[Kcopying: 25%, 0 s, about 0 s left")
    assert written.endswith("\r\033[K")
    assert "\n" not in written


def test_lines_are_printed_if_there_is_no_terminal(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = reported(StringIO(), monkeypatch).splitlines()
    assert set(lines) == {"openbank: copying: 25%, 0 s, about 0 s left"}


def test_a_failure_leaves_no_line(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def fail_on_the_way() -> None:
        with progress() as report:
            report("copying", None)
            while "copying: " not in terminal.getvalue():
                time.sleep(0.001)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail_on_the_way()
    assert terminal.getvalue().endswith("\r\033[K")


async def test_a_short_command_reports_no_progress(data: Path) -> None:
    ended = await run("verify", "--data", str(data))
    assert (ended.code, ended.err) == (0, "")


async def test_a_rebuild_can_be_waited_for(process: ServerProcess) -> None:
    async with Caller(process.address) as bank:
        await bank.open()
    ended = await run("rebuild", "--wait", "--target", process.address)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("rebuild is SUCCEEDED\n")

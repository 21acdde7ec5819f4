"""Whatever becomes of its streams, and whenever a signal comes: a command ends without a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import Settings
from tests.callers import Caller

NOBODY = "127.0.0.1:9"
"""No bank listens there."""
SECONDS_MAX = 60


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The files of a bank with one account."""
    directory = tmp_path / "data"
    async with serving(Settings(data=directory, listen="127.0.0.1:0")) as server, Caller(server.address) as bank:
        await bank.open(account_id="anns")
    return directory


def shell(command: str, redirection: str) -> subprocess.CompletedProcess[str]:
    script = f"set -o pipefail; {sys.executable} -m openbank {command} {redirection}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=SECONDS_MAX)


PRINTING = ("--help", "serve --help", "verify --data {data}", "backup --data {data} {data}/copy", "health {nobody}")
UNWRITABLE = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}


@pytest.mark.parametrize("redirection", UNWRITABLE)
@pytest.mark.parametrize("command", PRINTING)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_2(data: Path, command: str, redirection: str) -> None:
    done = shell(command.format(data=data, nobody=f"--target {NOBODY}"), redirection)
    assert (done.returncode, done.stdout) == (2, "")
    # health says before it what is in its way.
    assert done.stderr.splitlines()[-1] == f"openbank: cannot write to standard output: {UNWRITABLE[redirection]}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", "| head -n 1 > /dev/null"])
@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_gone_changes_no_exit_code(data: Path, command: str, redirection: str) -> None:
    done = shell(command.format(data=data, nobody=f"--target {NOBODY}"), redirection)
    assert done.returncode == (3 if command.startswith("health") else 0)
    assert done.stderr == "" or (command.startswith("health") and done.stderr.count("\n") == 1)


COMMANDS = {
    "verify --data {data}": 0,
    "verify --data {data}/none": 2,
    "verify --nonsense": 2,
    "serve --listen nonsense": 2,
    f"health --target {NOBODY}": 3,
    f"sinks list --target {NOBODY}": 3,
    f"sinks show crm --target {NOBODY}": 3,
    "tail accounts --type nonsense": 2,
    "copy --from {data}/none --to {data}/other": 2,
    "accept-loss --data {data}/none": 2,
}


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
@pytest.mark.parametrize("command", COMMANDS)
def test_other_streams_are_not_needed(data: Path, command: str, redirection: str) -> None:
    done = shell(command.format(data=data), redirection)
    assert done.returncode == COMMANDS[command]
    assert "Traceback" not in done.stderr


async def test_a_bank_without_streams_serves_and_stops(tmp_path: Path) -> None:
    script = (
        f"{sys.executable} -m openbank serve --data {tmp_path}/data --listen 127.0.0.1:0 >&- 2>&- <&- & bank=$!;"
        f" until grep -qs 'serves on 127.0.0.1:[1-9]' {tmp_path}/data/lock; do sleep 0.05; done;"
        " readlink /proc/$bank/fd/[012]; kill -TERM $bank; wait $bank"
    )
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], capture_output=True, text=True, timeout=SECONDS_MAX
    )
    # No file of the bank, and no connection, has the number of a stream.
    assert (done.returncode, done.stdout.split()) == (0, ["/dev/null"] * 3)


async def test_a_bank_whose_output_is_full_serves(tmp_path: Path) -> None:
    script = (
        f"{sys.executable} -m openbank serve --data {tmp_path}/data --listen 127.0.0.1:0 >/dev/full 2>/dev/full &"
        " bank=$!;"
        f" until grep -qs 'serves on 127.0.0.1:[1-9]' {tmp_path}/data/lock; do sleep 0.05; done;"
        " kill -TERM $bank; wait $bank"
    )
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", script], timeout=SECONDS_MAX)
    assert done.returncode == 0


def test_text_that_the_encoding_lacks_is_printed_as_escapes(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openbank", "backup", "--data", str(data), str(data / "Sicherung-ä")],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        timeout=SECONDS_MAX,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Sicherung-\\xe4 holds the events" in done.stdout


MOMENTS = [0, 0.05, 0.1, 0.2, 0.4]
"""Seconds after our first line: while the rest is imported, while the command works, and after."""


def until_ours(process: subprocess.Popen[str]) -> None:
    """Until it has signal handlers of ours, or has ended. Before that a signal is Python's affair."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.split("SigCgt:")[1].split()[0], 16)
        # The last one to get a handler, and one for which Python has none.
        if caught & 1 << (signal.SIGHUP - 1):
            return
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "command", ["verify --data {data}", "backup --data {data} {data}/copy", "health", "sinks list"]
)
def test_a_signal_ends_a_command_without_a_traceback_or_a_file(
    data: Path, command: str, number: signal.Signals, tmp_path: Path
) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "OPENBANK_LISTEN": NOBODY}
    Path(environment["TMPDIR"]).mkdir()
    for moment in MOMENTS:
        (data / "copy").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "openbank", *command.format(data=data).split()],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        until_ours(process)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            # Twice, as a terminal and a parent do.
            process.send_signal(number)
            process.send_signal(number)
        _, errors = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode in (0, 1, 2, 3, 128 + number), (moment, errors)
        assert errors.count("\n") <= 1, (moment, errors)
    assert os.listdir(environment["TMPDIR"]) == []
    assert not [name for name in os.listdir(data) if "unfinished" in name]

"""Instructions that a server process executes for a call: they repeat where times do not.

Counted by `perf stat` where the machine lets it, which many virtual machines don't; else by valgrind's callgrind, which
executes the server itself, some fifty times slower, and counts what it does outside the kernel.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import Load
from benchmarks.servers import ServerProcess

ROUNDS = 5
CALLS = {"perf": 5_000, "callgrind": 400}
WARM_UP_SECONDS = {"perf": 1.0, "callgrind": 10.0}
_CALLGRIND = ("valgrind", "--tool=callgrind", "--cache-sim=no")

Start = Callable[[Sequence[str]], ServerProcess]
Drive = Callable[[str, int, float], Load]
"""Drives a server at an address with so many calls, after a warm-up of so many seconds."""


def tool() -> str | None:
    """What counts on this machine, if anything does."""
    if shutil.which("perf"):
        tried = subprocess.run(
            ["perf", "stat", "-x,", "-e", "instructions", "true"], capture_output=True, text=True, check=False
        )
        if tried.returncode == 0 and re.match(r"\d+,", tried.stderr):
            return "perf"
    return "callgrind" if shutil.which("valgrind") else None


def per_call(counter: str, start: Start, drive: Drive, scratch: Path) -> list[float]:
    """Several counts of one server, each over its own calls."""
    dumps = Path(tempfile.mkdtemp(dir=scratch)) / "callgrind.out"
    under = [*_CALLGRIND, f"--callgrind-out-file={dumps}"] if counter == "callgrind" else []
    with start(under) as server:
        drive(server.address, 1, WARM_UP_SECONDS[counter])
        count = _perf if counter == "perf" else _callgrind(dumps)
        return [count(server.pid, lambda: drive(server.address, CALLS[counter], 0.0)) for _ in range(ROUNDS)]


def _perf(pid: int, run: Callable[[], Load]) -> float:
    perf = subprocess.Popen(
        ["perf", "stat", "-x,", "-e", "instructions", "-p", str(pid)], stderr=subprocess.PIPE, text=True
    )
    calls = run().calls
    perf.send_signal(signal.SIGINT)
    _, counted = perf.communicate()
    return int(counted.split(",")[0]) / calls


def _callgrind(dumps: Path) -> Callable[[int, Callable[[], Load]], float]:
    """Each dump counts from the one before, which the first of a pair therefore begins."""

    def count(pid: int, run: Callable[[], Load]) -> float:
        _dump(pid, dumps)
        calls = run().calls
        return _dump(pid, dumps) / calls

    return count


def _dump(pid: int, dumps: Path) -> int:
    subprocess.run(["callgrind_control", "-d", str(pid)], capture_output=True, check=True)
    newest = max(dumps.parent.glob(f"{dumps.name}.*"), key=lambda path: int(path.suffix[1:]))
    total = re.search(r"^totals: (\d+)", newest.read_text(), re.MULTILINE)
    if total is None:
        raise SystemExit(f"callgrind's dump {newest.name} has no total")
    return int(total[1])

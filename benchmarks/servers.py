"""The servers under load, each a process of its own: the bank, and the bare echo beside it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30


class ServerProcess:
    """Serves from construction on, at `address`, until the block ends."""

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        with errors.open("w") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        self.pid = self._process.pid
        self.address = self._read_address(errors)

    def _read_address(self, errors: Path) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if "listens on" in line:
                return line.split()[2]
        raise RuntimeError(f"{errors.stem} does not start: {errors.read_text()[-2000:]}")

    def cpu_seconds(self) -> float:
        """What the process has used so far, in the kernel too, with its threads that have ended."""
        return time.clock_gettime(_cpu_clock(self.pid))

    def resident_megabytes(self) -> float:
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmRSS"))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_SECONDS)
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _cpu_clock(pid: int) -> int:
    """As clock_getcpuclockid(3) gives it, which Python's library does not have."""
    return (~pid << 3) | 2


def bank(
    data: Path, under: Sequence[str] = (), flags: Sequence[str] = (), *, module: str = "openbank"
) -> ServerProcess:
    """The service as `make run` starts it, with its log in a file. `under`: a command to run it with."""
    serve = ["-m", module, "serve", "--data", str(data), "--listen", "127.0.0.1:0", *flags]
    return ServerProcess([*under, sys.executable, *serve], data.with_name(f"{data.name}.log"))


def bare(log: Path) -> ServerProcess:
    """Answers every method with nothing."""
    return ServerProcess([sys.executable, "-m", "benchmarks.stalls.bare"], log)


def echo(answers: Path, under: Sequence[str] = ()) -> ServerProcess:
    """Answers each method with the message of that name in the directory `answers`."""
    return ServerProcess([*under, sys.executable, "-m", "benchmarks.echo", str(answers)], answers.with_name("echo.log"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

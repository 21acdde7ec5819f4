"""A process that checks a bank's health 50 times a second, and reports its longest wait for an answer.

python -m benchmarks.stalls.pulse ADDRESS PID prints a line when it has begun, and the figures when its
standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from benchmarks.servers import ROOT, ServerProcess

INTERVAL_SECONDS = 0.02
CHECK_SECONDS_MAX = 60
WARM_UP_CHECKS = 10


class Pulse:
    """Beside a block; afterwards the most milliseconds that a check waited, and that the server worked meanwhile.

    On a busy machine the second figure tells more: it leaves out the time that other processes took.
    """

    def __init__(self, bank: ServerProcess) -> None:
        self._command = [sys.executable, "-m", "benchmarks.stalls.pulse", bank.address, str(bank.pid)]
        self.stall_ms = 0.0
        self.worked_ms = 0.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self._process.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        said, _ = self._process.communicate()
        if error is None:
            self.stall_ms, self.worked_ms = map(float, said.split())


def main(address: str, pid: int) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with grpc.insecure_channel(address) as channel:
        stub = HealthStub(channel)
        for _ in range(WARM_UP_CHECKS):
            stub.Check(HealthCheckRequest(), timeout=CHECK_SECONDS_MAX)
        print("began", flush=True)
        stall = worked = 0.0
        due = time.perf_counter()
        while not ended.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            before = _loop_seconds(pid)
            stub.Check(HealthCheckRequest(), timeout=CHECK_SECONDS_MAX)
            now = time.perf_counter()
            stall = max(stall, now - due)
            worked = max(worked, _loop_seconds(pid) - before)
            due = max(due + INTERVAL_SECONDS, now)
    print(stall * 1000, worked * 1000)


def _loop_seconds(pid: int) -> float:
    """Processor time of the server's first thread, which its event loop is in."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

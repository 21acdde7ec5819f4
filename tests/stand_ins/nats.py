"""The real NATS server, for tests: installed once with Go, kept in the repository's cache directory.

with NatsProcess(tmp_path / "nats") as server:
    ...                 # server.uri
    server.kill()       # SIGKILL
    server.start()      # the same address, the same streams
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.go_programs import BUILD_SECONDS, CACHE, BuildFailed, GoMissing, go, untimed

__all__ = ["GoMissing", "NatsProcess", "install"]

MODULE = "github.com/nats-io/nats-server/v2@v2.11.9"
BINARY = CACHE / "bin" / "nats-server"
START_SECONDS = 30.0


def install() -> Path:
    """The program; the first call takes half a minute, others wait for it. Raises GoMissing, BuildFailed."""
    if BINARY.exists():
        return BINARY
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    with untimed(), (CACHE / "nats-server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not BINARY.exists():
            _install()
    return BINARY


def _install() -> None:
    command = [go("the NATS server"), "install", "-trimpath", MODULE]
    environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": str(BINARY.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise BuildFailed(f"the NATS server does not install:\n{done.stderr.strip()}")


class NatsProcess:
    """A server with JetStream in a process of its own, which keeps its address from one start to the next."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self._directory = directory
        self._flags = flags
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [str(install()), "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._directory)]
        self._process = subprocess.Popen([*command, *self._flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the NATS server does not start")
            time.sleep(0.02)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answers(self) -> bool:
        """It greets who connects, once it is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1.0) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    try:
        print(install())
    except (GoMissing, BuildFailed) as error:
        raise SystemExit(str(error)) from None

"""A stand-in in a process of its own: started until it says that it is ready, stopped or killed by its own pid."""

import select
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class StandInFailed(Exception):
    pass


class StandInProcess:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Its address, which is the last word of its ready line."""
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        output = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + START_SECONDS
        # Not select(), which takes no descriptor past 1,023: a test may have more open.
        ready = select.poll()
        ready.register(output, select.POLLIN)
        while time.monotonic() < deadline and self._process.poll() is None:
            if ready.poll(100) and (line := output.readline()):
                return line.split()[-1]
        self.kill()
        raise StandInFailed(f"no ready line from: {' '.join(self._command)}")

    def kill(self) -> None:
        """kill -9: nothing is flushed, no connection is closed."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            how(process)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()

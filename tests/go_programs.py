"""Programs in Go that tests need: each built once, kept in the repository's cache directory.

A build may take minutes. None counts against the limit of the test that happens to need it first.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[1] / ".cache"
BUILD_SECONDS = 900.0


@contextmanager
def untimed() -> Iterator[None]:
    """pytest-timeout's limit stands still meanwhile."""
    seconds, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, seconds)


class GoMissing(Exception):
    def __init__(self, what: str) -> None:
        super().__init__(f"Go is not installed, so {what} cannot be built (https://go.dev/dl)")


class BuildFailed(Exception):
    pass


def go(what: str) -> str:
    """The compiler. Raises GoMissing."""
    found = shutil.which("go")
    if not found:
        raise GoMissing(what)
    return found


class GoProgram(NamedTuple):
    """`what` it is goes into messages: "FerretDB, the stand-in for MongoDB,"."""

    name: str
    source: Path
    what: str

    def build(self) -> Path:
        """The program. The first call may take a minute or two, others wait for it. Raises GoMissing, BuildFailed."""
        built = self.binary()
        if built.exists():
            return built
        CACHE.mkdir(exist_ok=True)
        with untimed(), (CACHE / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not built.exists():
                self._compile_to(built)
        return built

    def binary(self) -> Path:
        """Where the build of this source is kept."""
        source = b"".join((self.source / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
        return CACHE / f"{self.name}-{hashlib.sha256(source).hexdigest()[:16]}"

    def _compile_to(self, built: Path) -> None:
        unfinished = built.with_suffix(".unfinished")
        command = [go(self.what), "build", "-trimpath", "-o", str(unfinished), "."]
        environment = os.environ | {"CGO_ENABLED": "0"}
        done = subprocess.run(
            command,
            cwd=self.source,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BuildFailed(f"{self.name} does not build:\n{done.stderr.strip()}")
        unfinished.replace(built)

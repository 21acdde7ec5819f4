"""FerretDB, as a MongoDB for tests: built once with Go, kept in the repository's cache directory."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.stand_ins.subprocesses import ROOT

SOURCE = Path(__file__).resolve().parent / "ferretdb"
CACHE = ROOT / ".cache"
BUILD_SECONDS = 900.0


class GoMissing(Exception):
    def __init__(self) -> None:
        super().__init__(
            "Go is not installed, so FerretDB, the stand-in for MongoDB, cannot be built (https://go.dev/dl)"
        )


class BuildFailed(Exception):
    pass


def go() -> str:
    found = shutil.which("go")
    if not found:
        raise GoMissing
    return found


def binary() -> Path:
    """Where the build of this source is kept."""
    source = b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return CACHE / f"ferretdb-{hashlib.sha256(source).hexdigest()[:16]}"


def build() -> Path:
    """The program; the first call takes a minute or two, and others wait for it."""
    built = binary()
    if built.exists():
        return built
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "ferretdb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            compile_to(built)
    return built


def compile_to(built: Path) -> None:
    unfinished = built.with_suffix(".unfinished")
    command = [go(), "build", "-trimpath", "-o", str(unfinished), "."]
    environment = os.environ | {"CGO_ENABLED": "0"}
    done = subprocess.run(
        command, cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode:
        raise BuildFailed(f"FerretDB does not build:\n{done.stderr.strip()}")
    unfinished.replace(built)


if __name__ == "__main__":
    try:
        print(build())
    except (GoMissing, BuildFailed) as error:
        raise SystemExit(str(error)) from None

"""The two wheels, and empty environments to install them in."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.go_programs import BUILD_SECONDS, CACHE, untimed

ROOT = Path(__file__).parents[2]
PROJECTS = (ROOT / "openbank-client", ROOT)
NAMES = ("openbank-client", "openbank")


def build(into: Path) -> Path:
    """The directory, with both wheels in it. The build's own requirements are those of `make dev`."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", into, *PROJECTS)
    return into


def dependencies(built: Path) -> Path:
    """A directory of wheels with all that both need without extras, in the versions of constraints.txt.

    They are downloaded once, and kept in the repository's cache directory.
    """
    files = (ROOT / "constraints.txt", *(project / "pyproject.toml" for project in PROJECTS))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    kept = CACHE / f"wheels-{digest}"
    CACHE.mkdir(exist_ok=True)
    with untimed(), (CACHE / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            unfinished = CACHE / "wheels.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            constraints = ("--constraint", ROOT / "constraints.txt")
            _pip("download", *constraints, "--dest", unfinished, *built.glob("*.whl"))
            for ours in unfinished.glob("openbank*.whl"):
                ours.unlink()
            unfinished.rename(kept)
    return kept


class Environment:
    """A virtual environment with nothing in it, not even pip."""

    def __init__(self, directory: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        self.python = directory / "bin/python"

    def install(self, *arguments: str | Path) -> None:
        # Not compiled: most of it is never imported.
        _pip("--python", self.python, "install", "--no-compile", *arguments)

    def run(self, *arguments: str | Path, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [self.python, "-I", *arguments]
        return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as directory:
        print(dependencies(build(Path(directory))))

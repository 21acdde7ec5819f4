"""The same client in several languages, built once and kept in the repository's cache directory.

It takes a task as JSON: the address (in Go also files for mutual TLS: ca, cert, key), calls (method, body in
hexadecimal, whether it is a stream), and workers. For each call that many workers on one connection, and one that
connects again for every call, call until a call fails. Then it prints how each worker ended: its number of answers, and
the code, message and details of the failure.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.go_programs import BUILD_SECONDS, CACHE, GoProgram, untimed

HERE = Path(__file__).parent

Command = Sequence[str]


def python() -> Command:
    return [sys.executable, str(HERE / "python_client.py")]


def go() -> Command:
    """Raises GoMissing."""
    with untimed():
        return [str(GoProgram("client-go", HERE / "go", "the client").build())]


def node() -> Command:
    """@grpc/grpc-js, installed in seconds."""
    return node_program("client-node", HERE / "node")


def node_program(name: str, source: Path) -> Command:
    """`main.js` in the directory `source`, with the packages that it needs."""
    with _made(name, source, "package.json", "package-lock.json", "main.js") as (directory, new):
        if new:
            _run(directory, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    return ["node", str(directory / "main.js")]


def rust() -> Command:
    """tonic, compiled without optimisation: that takes long enough."""
    with _made("client-rust", HERE / "rust", "Cargo.toml", "Cargo.lock", "src/main.rs") as (directory, new):
        if new:
            _run(directory, "cargo", "build", "--locked", "--quiet")
    return [str(directory / "target/debug/stop-client")]


LANGUAGES: dict[str, Callable[[], Command]] = {"python": python, "go": go}
# These only where their tools are: the project needs neither for anything else.
if shutil.which("node") and shutil.which("npm"):
    LANGUAGES["node"] = node
if shutil.which("cargo"):
    LANGUAGES["rust"] = rust


@contextmanager
def _made(name: str, source: Path, *files: str) -> Iterator[tuple[Path, bool]]:
    """A directory for a build of these files, and whether it is still to be built."""
    digest = hashlib.sha256(b"".join((source / file).read_bytes() for file in files)).hexdigest()[:16]
    directory, done = CACHE / f"{name}-{digest}", CACHE / f"{name}-{digest}.built"
    CACHE.mkdir(exist_ok=True)
    with untimed(), (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = not done.exists()
        for file in files if new else ():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, directory / file)
        yield directory, new
        done.touch()


def _run(directory: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"{' '.join(command)} fails:\n{done.stderr[-2000:]}"


if __name__ == "__main__":
    for language, build in LANGUAGES.items():
        print(language, *build())

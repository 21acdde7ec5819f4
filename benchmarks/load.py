"""Runs the loader: a small Go program, so that making the load costs far less than answering it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from benchmarks.servers import ROOT

REQUEST_ID = "00000000-0000-0000-0000-000000000000"
"""Stands in a body for the request id that the loader makes for each call."""
WARM_UP_SECONDS = 0.5

_SOURCE = ROOT / "benchmarks" / "loader"
BINARY = ROOT / ".cache" / "bin" / "loader"


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the loader measured."""

    calls: int
    all_calls: int
    """With those of the warm-up, which the figures leave out."""
    per_second: float
    p50_us: float
    p99_us: float
    response_bytes: float


def build() -> None:
    """Makes the loader, where it is older than its source. Exits with a line where there is no Go."""
    newest = max(path.stat().st_mtime for path in _SOURCE.iterdir())
    if BINARY.exists() and BINARY.stat().st_mtime >= newest:
        return
    if shutil.which("go") is None:
        raise SystemExit("The benchmarks' loader needs Go (1.23 or later, https://go.dev/dl) to be built once.")
    subprocess.run(["go", "build", "-o", str(BINARY), "."], cwd=_SOURCE, check=True)


def write_bodies(path: Path, requests: Iterable[Message]) -> Path:
    """The requests as the loader reads them; it sends them in turn."""
    with path.open("wb") as file:
        for request in requests:
            body = request.SerializeToString()
            file.write(len(body).to_bytes(4) + body)
    return path


def load(
    address: str,
    method: str,
    bodies: Path,
    in_flight: int,
    *,
    seconds: float = 0.0,
    calls: int = 0,
    warm_up: float = WARM_UP_SECONDS,
    per_second: float = 0.0,
    more: Sequence[str] = (),
) -> Load:
    """Keeps `in_flight` calls under way for that time, or until there were so many. Any failed call ends the run.

    With `per_second`, no more calls are begun a second than that. `more` are flags for TLS and the caller's token.
    """
    options = {
        "-address": address,
        "-method": method,
        "-bodies": bodies,
        "-in-flight": in_flight,
        "-seconds": seconds,
        "-calls": calls,
        "-warm-up": warm_up,
        "-per-second": per_second,
    }
    command = [str(BINARY), *(str(part) for option in options.items() for part in option), *more]
    measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if measured["failures"]:
        raise SystemExit(f"{measured['failures']} calls of {method} failed: {measured['statuses']}")
    return Load(
        measured["calls"],
        measured["calls"] + measured["warm_up_calls"],
        measured["calls_per_second"],
        measured["p50_us"],
        measured["p99_us"],
        measured["response_bytes"],
    )

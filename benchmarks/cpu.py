"""Processor time of a server for each call of a load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import load
from benchmarks.servers import ServerProcess


class Used(NamedTuple):
    us: float
    """Microseconds of processor time a call."""
    per_second: float
    all_calls: int


def used(
    server: ServerProcess,
    method: str,
    bodies: Path,
    in_flight: int,
    *,
    seconds: float = 0.0,
    calls: int = 0,
    warm_up: float = 0.2,
    more: Sequence[str] = (),
) -> Used:
    """See `load` for what the arguments mean."""
    begin = server.cpu_seconds()
    done = load(server.address, method, bodies, in_flight, seconds=seconds, calls=calls, warm_up=warm_up, more=more)
    return Used((server.cpu_seconds() - begin) / done.all_calls * 1e6, done.per_second, done.all_calls)

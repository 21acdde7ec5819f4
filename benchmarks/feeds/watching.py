"""Runs the loader's watchers: streams that are counted and timed, and not decoded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import messages
from benchmarks.load import BINARY


@dataclass(frozen=True, slots=True)
class Watched:
    events: int
    """Given to all watchers together."""
    messages: int
    bytes: int
    seconds: float
    per_second: float
    p50_us: float
    """From an event's record time, which is before its commit, to the watcher."""
    p99_us: float


class Watching:
    """Watchers at work; `result` is there after the block."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.result: Watched


@contextmanager
def watching(
    address: str, bodies: Path, watchers: int, *, idle: int = 0, events: int = 0, latencies: bool = False
) -> Iterator[Watching]:
    """From when each watch is confirmed. They read until the block ends, or each until it has had `events`."""
    options: dict[str, Any] = {
        "-address": address,
        "-method": messages.path("WatchAccountEvents"),
        "-bodies": bodies,
        "-watchers": watchers,
        "-idle": idle,
        "-events": events,
        "-connections": min(watchers, 10),
    }
    command = [str(BINARY), *(str(part) for option in options.items() for part in option)]
    command += ["-latencies"] if latencies else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = Watching(process)
    try:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the watchers were not confirmed")
        yield made
        # The end of its input ends the watchers.
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit("a watcher has failed")
        told = json.loads(output)
        told["per_second"] = told.pop("events_per_second")
        made.result = Watched(**told)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def replay(address: str, bodies: Path, events: int) -> Watched:
    """One watcher, until it has had so many events."""
    with watching(address, bodies, 1, events=events) as made:
        pass
    return made.result

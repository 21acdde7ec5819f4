"""Progress of a command that may take long, on standard error: a line that is rewritten on a terminal, elsewhere a line
every ten seconds."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from openbank.cli.terminal import cut
from openbank.progress import OnProgress

TERMINAL_SECONDS = 0.5
ELSEWHERE_SECONDS = 10.0
_CLEAR = "\r\033[K"
REMAINING_AFTER_SECONDS = 2.0
"""Before this, the time that remains is a guess."""


@contextmanager
def progress() -> Iterator[OnProgress]:
    """What an operation calls. A thread prints, so that the operation never waits for a terminal."""
    line = _Line()
    done = threading.Event()
    thread = threading.Thread(target=_print, args=(line, done), name="openbank-progress", daemon=True)
    thread.start()
    try:
        yield line
    finally:
        done.set()
        thread.join()


class _Line:
    """What was said last."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said: tuple[str, float | None] = ("", None)

    def __call__(self, what: str, part: float | None) -> None:
        if what != self._said[0]:
            self._began = time.monotonic()
        self._said = (what, part)

    def text(self) -> str:
        """Empty before anything was said."""
        what, part = self._said
        seconds = time.monotonic() - self._began
        if not what:
            return ""
        if part is None:
            return f"{what}: {_duration(seconds)}"
        remaining = ""
        if seconds >= REMAINING_AFTER_SECONDS and 0 < part < 1:
            remaining = f", about {_duration(seconds * (1 - part) / part)} left"
        return f"{what}: {part:.0%}, {_duration(seconds)}{remaining}"


def _print(line: _Line, done: threading.Event) -> None:
    is_terminal = sys.stderr.isatty()
    shown = False
    while not done.wait(TERMINAL_SECONDS if is_terminal else ELSEWHERE_SECONDS):
        if text := line.text():
            if is_terminal:
                print(_CLEAR + cut(text, shutil.get_terminal_size().columns - 1), end="", file=sys.stderr, flush=True)
            else:
                print(f"openbank: {text}", file=sys.stderr, flush=True)
            shown = True
    if shown and is_terminal:
        print(_CLEAR, end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

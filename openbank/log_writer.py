"""Writes log lines without making callers wait."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

WAITING_LENGTH_MAX = 4 << 20
"""The most characters that wait to be written. Further lines are dropped and counted."""
FLUSH_SECONDS_MAX = 1.0
"""How long the end of the process waits for unwritten lines."""


class LogWriter:
    """Writes to a file descriptor in a thread of its own.

    Standard error may be a pipe that nobody reads, a terminal on hold or a full disk: a write there may block for any
    time, and on the event loop it would stop the whole server.
    """

    def __init__(
        self, descriptor: int, dropped: Callable[[int], str], waiting_length_max: int = WAITING_LENGTH_MAX
    ) -> None:
        """`dropped` makes the line that says how many lines were dropped."""
        self._descriptor = descriptor
        self._dropped_line = dropped
        self._waiting_length_max = waiting_length_max
        self._texts: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._lock = threading.Lock()
        # Each is changed on one side only: by loggers, or by the thread.
        self._given = 0
        self._taken = 0
        self._dropped = 0
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()

    def write(self, lines: Sequence[str]) -> None:
        """Returns at once. Lines are written in the order of these calls."""
        text = "\n".join(lines) + "\n"
        with self._lock:
            if self._given - self._taken + len(text) > self._waiting_length_max:
                self._dropped += len(lines)
                return
            self._put(self._pop_dropped() + text)

    def flush(self) -> None:
        """Waits until everything is written, for at most FLUSH_SECONDS_MAX."""
        written = threading.Event()
        with self._lock:
            if dropped := self._pop_dropped():
                self._put(dropped)
            self._texts.put(written)
        written.wait(FLUSH_SECONDS_MAX)

    def _pop_dropped(self) -> str:
        count, self._dropped = self._dropped, 0
        return f"{self._dropped_line(count)}\n" if count else ""

    def _put(self, text: str) -> None:
        self._given += len(text)
        self._texts.put(text)

    def _run(self) -> None:
        while True:
            text = self._texts.get()
            if isinstance(text, threading.Event):
                text.set()
                continue
            try:
                self._write(text.encode(errors="backslashreplace"))
            except OSError:
                # There is no reader, or no room, and no other place to report it.
                with self._lock:
                    self._dropped += text.count("\n")
            self._taken += len(text)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Another process that has the same terminal or pipe has made it so.
                select.select((), (self._descriptor,), ())

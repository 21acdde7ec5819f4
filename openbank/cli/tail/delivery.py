"""How much of the output its reader has taken."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

LOOK_SECONDS = 0.2


class TailPrinter:
    """Keeps the token of what has been delivered, and sets `stop` when the reader is gone.

    Output to a pipe is delivered when it has been read from the pipe and the reader still exists at the next look:
    `head` reads more than it prints, and then ends. Whether a reader uses what it has read cannot be known. Output to a
    file is delivered when it is on disk, other output when it has been written. A separate thread looks, as the
    printing thread may be waiting for events or for the reader. The end of the block waits for the rest.
    """

    def __init__(self, output: int, keep: Callable[[str], None] | None, stop: threading.Event) -> None:
        """`keep` takes a token; None where none is kept. What it raises is raised at the end of the block."""
        self._output = output
        self._keep = keep
        self._stop = stop
        mode = os.fstat(output).st_mode
        self._is_pipe, self._is_file = stat.S_ISFIFO(mode), stat.S_ISREG(mode)
        self._lock = threading.Lock()
        self._written = 0
        self._pending: deque[tuple[int, str]] = deque()
        """Tokens, each with the bytes written up to it."""
        self._read_before = -1
        """The bytes that had been read at the last look."""
        self._ending = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="openbank-delivery", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        if self._keep is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def printed(self, size: int, token: str) -> None:
        """`size` more bytes have been written, which end where `token` is."""
        with self._lock:
            self._written += size
            if self._pending and self._pending[-1][0] == self._written:
                self._pending.pop()
            self._pending.append((self._written, token))

    def _run(self) -> None:
        output = select.poll()
        # poll always reports errors: that the other end of a pipe, or the terminal, is closed.
        output.register(self._output, 0)
        look_milliseconds = None if self._keep is None else LOOK_SECONDS * 1000
        try:
            while not output.poll(look_milliseconds):
                self._look()
                if self._ending and not self._pending:
                    return
        except Exception as error:
            self._failure = error
        self._stop.set()

    def _look(self) -> None:
        with self._lock:
            written = self._written
        read = written - self._unread()
        delivered = self._read_before if self._is_pipe else read
        self._read_before = read
        token = None
        with self._lock:
            while self._pending and self._pending[0][0] <= delivered:
                _, token = self._pending.popleft()
        if token is not None and self._keep is not None:
            if self._is_file:
                os.fsync(self._output)
            self._keep(token)

    def _unread(self) -> int:
        """The number of bytes that are still in the pipe."""
        if not self._is_pipe:
            return 0
        (unread,) = struct.unpack("i", fcntl.ioctl(self._output, termios.FIONREAD, bytes(4)))
        return int(unread)

"""The data directory: one process at a time has it.

The lock is the kernel's (flock): it ends with the process, however that ends. What stands in the file is only for the
message that another process gets.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from openbank.disk import sync

LOCK = "lock"


class DataDirectoryInUse(Exception):
    """Another process has it; the message says which."""


class DataDirectory:
    """Held from construction to `close`. Raises DataDirectoryInUse, and OSError when it cannot be made or written."""

    def __init__(self, path: Path, doing: str) -> None:
        self.path = path.resolve()
        _make(self.path)
        # Not inherited by child processes (PEP 446), which would hold the lock beyond this one's end.
        self._file = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 1000).decode(errors="replace").strip()
            os.close(self._file)
            raise DataDirectoryInUse(f"{self.path} is in use by {holder or 'another process'}") from None
        self.says(doing)

    def says(self, doing: str) -> None:
        """Who holds it and what for ("serves on ..."), for the message to another process."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()}, which {doing}\n".encode(), 0)

    def close(self) -> None:
        # The file stays: removing it could take it from under a process that has just opened it.
        os.close(self._file)


def _make(path: Path) -> None:
    """With its entry on disk, and those of the directories above that were not there: what is synced in a directory is
    lost with it."""
    missing = [place for place in path.parents if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    # Its own also when it is there: an earlier start may have ended right after it had made it.
    for place in (path, *missing):
        # One that may not be read is not one that this process has made anything in.
        with suppress(PermissionError):
            sync(place.parent)

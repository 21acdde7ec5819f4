"""Files that survive a power cut and that only their owner can read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def sync(path: Path) -> None:
    """A file's content, or a directory's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path) -> None:
    """Creates an empty file if there is none. Whatever the umask, only its owner can read it.

    SQLite gives its -wal, -shm and -journal files the mode of the database.
    """
    with suppress(FileExistsError):
        os.close(_create(path))


def replace(path: Path, text: str, beside: Path) -> None:
    """Replaces the content of a file atomically and durably. `beside` may be left if it fails."""
    beside.unlink(missing_ok=True)
    with open(_create(beside), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def _create(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor

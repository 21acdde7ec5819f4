"""The data directory: one process at a time has it, and only its owner can read it.

The lock is the kernel's (flock): it ends with the process. The content of the file is only for the message to another
process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from openbank.disk import PRIVATE_DIRECTORY, PRIVATE_FILE, sync

LOCK = "lock"
DATABASES = ("events.db", "views.db", "sinks.db")
OURS = (*DATABASES, "clean-stop", LOCK)
"""Names of a bank's files; others begin with one of these and `-` or `.`, such as events.db-wal."""

_log = logging.getLogger(__name__)


class DataDirectoryInUse(Exception):
    """Another process has it; the message says which."""


class DataDirectory:
    """Held from construction to `close`, or as a context. Raises DataDirectoryInUse, and OSError when it cannot be made
    or written.

    Where no bank was before, an exception that ends the context removes what was made, unless it was to `keep`.
    """

    def __init__(self, path: Path, doing: str) -> None:
        self.path = path.resolve()
        self._made = _make(self.path)
        """Directories that were not there, the innermost first."""
        _make_private(self.path)
        self._new = not any(_is_ours(entry) for entry in self.path.iterdir())
        self._file = self._lock()
        with suppress(PermissionError):
            os.fchmod(self._file, PRIVATE_FILE)
        self.says(doing)

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and self._new:
            self._remove()
        self.close()

    def says(self, doing: str) -> None:
        """The holder and its purpose ("serves on ..."), for the message to another process."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()}, which {doing}\n".encode(), 0)

    def keep(self) -> None:
        """Keeps the directory from here on: it holds a bank."""
        self._new = False

    def close(self) -> None:
        # The file stays: removing it could take it from under a process that has just opened it.
        os.close(self._file)

    def _lock(self) -> int:
        while True:
            # Not inherited by child processes (PEP 446), which would hold the lock beyond this one's end.
            file = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(file, 1000).decode(errors="replace").strip()
                os.close(file)
                raise DataDirectoryInUse(f"{self.path} is in use by {holder or 'another process'}") from None
            # One whose start has failed may have removed it between the two calls.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(self.path / LOCK)):
                    return file
            os.close(file)

    def _remove(self) -> None:
        """Removes what can be removed; the rest does no harm."""
        with suppress(OSError):
            for entry in [entry for entry in self.path.iterdir() if _is_ours(entry)]:
                entry.unlink()
            for place in self._made:
                place.rmdir()


def _make(path: Path) -> Sequence[Path]:
    """With its entry on disk, and those of the directories above that were not there: what is synced in a directory is
    lost with it. The directories that were not there."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    # Its own also when it is there: an earlier start may have ended right after it had made it.
    for place in dict.fromkeys((path, *missing)):
        # One that may not be read is not one that this process has made anything in.
        with suppress(PermissionError):
            sync(place.parent)
    return missing


def _make_private(path: Path) -> None:
    """Removes permissions of other users that earlier versions, or a person, have left.

    A directory that holds other things and no bank keeps its mode: it may be a home directory, or /tmp.
    """
    entries = list(path.iterdir())
    found = [path] if not entries or any(_is_ours(entry) for entry in entries) else []
    found += [file for file in _files(entries) if file.is_file()]
    opened = [place for place in found if stat.S_IMODE(place.stat().st_mode) & 0o077]
    if not opened:
        return
    kept = [str(place) for place in opened if not _close_to_others(place)]
    values = {"directory": str(path), "places": len(opened) - len(kept)}
    if len(opened) > len(kept):
        _log.warning("data is private now: others could read it", extra={"values": values})
    if kept:
        _log.warning("others can read data, and this user may not change that", extra={"values": {"places": kept}})


def _files(entries: list[Path]) -> Iterator[Path]:
    """The bank's files, with those that a link leads to."""
    for entry in filter(_is_ours, entries):
        yield entry
        if entry.is_symlink() and entry.name in DATABASES:
            yield from (Path(f"{entry.resolve()}{suffix}") for suffix in ("-wal", "-shm", "-journal"))


def _is_ours(entry: Path) -> bool:
    return any(entry.name == name or entry.name.startswith((f"{name}-", f"{name}.")) for name in OURS)


def _close_to_others(place: Path) -> bool:
    """Whether it is private now: only its owner may change that."""
    try:
        place.chmod(PRIVATE_DIRECTORY if place.is_dir() else PRIVATE_FILE)
    except PermissionError:
        return False
    return True

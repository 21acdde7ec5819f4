"""Finds the log: a file that can hold one, or a directory that never held a bank."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.sqlite.epoch import SUFFIX
from openbank.eventstore.sqlite.schema import FILE
from openbank.sqlite_file import has_rows

TRACES = ("clean-stop", f"{FILE}-wal", f"{FILE}-journal", f"{FILE}{SUFFIX}")
"""Unless empty, these files show that a bank was served from the directory."""
DATABASES = ("views.db", "sinks.db")
"""The same, if they have a row: an earlier version created them first, and may have been killed right after."""
PENDING = f"{FILE}-restore.json"
"""The file with the steps that a restore has still to do."""


def find_log(directory: Path) -> Path | None:
    """The log's own path, with links followed; None if there has never been a log.

    Raises StoreRefused for anything but a readable file, and if only the log is missing.
    """
    path = directory / FILE
    if (directory / PENDING).exists():
        raise StoreRefused(
            f"a restore into {directory} has not finished: start the bank, or run openbank restore again"
        )
    if not os.path.lexists(path):
        traces = [name for name in TRACES if _has_content(directory / name)]
        traces += [name for name in DATABASES if _has_content(directory / name) and has_rows(directory / name)]
        if traces:
            raise StoreRefused(
                f"{path} is missing, but a bank's {', '.join(traces)} {'is' if len(traces) == 1 else 'are'} there:"
                f" {how_to_restore(directory)}; for a new bank, use another directory"
            )
        return None
    try:
        check_file(path)
    except StoreRefused as error:
        raise StoreRefused(f"{error}; {how_to_restore(directory)}") from error
    return path.resolve()


def check_file(path: Path) -> None:
    """Raises StoreRefused for what cannot be a log, whatever its content."""
    try:
        file = path.stat()
        if stat.S_ISDIR(file.st_mode):
            raise StoreRefused(f"{path} is a directory, and should be a file")
        if not stat.S_ISREG(file.st_mode):
            raise StoreRefused(f"{path} is not a regular file")
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError as error:
        raise StoreRefused(f"{path} is a link to a file that is not there") from error
    except OSError as error:
        raise StoreRefused(f"{path} can't be read: {error.strerror}") from error
    if not file.st_size:
        raise StoreRefused(f"{path} is empty")


def how_to_restore(directory: Path) -> str:
    return f"restore a backup: openbank restore --data {directory} FILE"


def _has_content(path: Path) -> bool:
    try:
        return bool(path.stat().st_size)
    except FileNotFoundError:
        return False

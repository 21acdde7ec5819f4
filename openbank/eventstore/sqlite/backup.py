"""A copy of the log in one file, made while a server may be writing."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from openbank.disk import PRIVATE_FILE, sync
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.sqlite.epoch import check_wal
from openbank.eventstore.sqlite.location import find_log
from openbank.eventstore.sqlite.mark import MARK
from openbank.eventstore.sqlite.schema import FILE, rename_log
from openbank.eventstore.sqlite.whole import Contents, examine
from openbank.progress import OnProgress, unseen
from openbank.sqlite_file import SIDE_FILES, read_only, use_rollback_mode

OURS = (FILE, "views.db", "sinks.db", MARK)
"""The beginnings of the names of a bank's files."""
STEP_PAGES = 1_000
"""Pages copied per step. A signal can end the backup between two steps."""


def backup(directory: Path, file: Path, progress: OnProgress = unseen) -> Contents:
    """Copies a consistent state of the log to `file`, also while a server writes; `restore` puts it back.

    When this returns, the file is complete, checked and durable; after an error it does not exist. Raises
    FileNotFoundError if there is no log or no directory for `file`, FileExistsError if the file exists, other OSErrors
    if it cannot be created, StoreRefused for a log that is damaged or has a WAL of another log.
    """
    source = find_log(directory)
    if source is None:
        raise FileNotFoundError(f"{directory / FILE} is not there")
    check_wal(source)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {file.parent}")
    if directory.resolve() == file.parent.resolve() and file.name.startswith(OURS):
        raise FileExistsError(f"{file} is a name that the bank itself uses")
    with _unfinished(file) as unfinished:
        try:
            _copy(source, unfinished, progress)
            contents = examine(unfinished, progress)
        except sqlite3.Error as error:
            raise OSError(f"{source} can't be copied to {unfinished}: {error}") from error
        except StoreRefused as error:
            raise StoreRefused(str(error).replace(str(unfinished), str(source))) from error
        sync(unfinished)
        unfinished.rename(file)
        sync(file.parent)
    return contents


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """A temporary file beside `file`, locked, removed at the end. One left by a kill is used again."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    descriptor = _hold(unfinished, file)
    try:
        if os.path.lexists(file):
            raise FileExistsError(f"{file} exists")
        _remove_side_files(unfinished)
        os.ftruncate(descriptor, 0)
        yield unfinished
    finally:
        if _is_at(descriptor, unfinished):
            unfinished.unlink()
        _remove_side_files(unfinished)
        os.close(descriptor)


def _hold(unfinished: Path, file: Path) -> int:
    """A descriptor with the lock on the file that has this name."""
    while True:
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FileExistsError(f"another backup to {file} is being made") from None
        # Its owner may have renamed or removed the file between the two calls.
        if _is_at(descriptor, unfinished):
            os.fchmod(descriptor, PRIVATE_FILE)
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_side_files(path: Path) -> None:
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _copy(source_path: Path, path: Path, progress: OnProgress) -> None:
    with closing(read_only(source_path)) as source, closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # An unfinished copy need not survive a crash. It is synced as a whole at the end.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        # One read transaction for all steps: otherwise every commit between two steps would restart the copy.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy, pages=STEP_PAGES, progress=partial(_let_signals_in, progress))
    use_rollback_mode(path)
    rename_log(path)


def _let_signals_in(progress: OnProgress, _: int, left: int, pages: int) -> None:
    """Python runs its signal handlers only between two steps of its own, such as this one."""
    progress("copying", 1 - left / max(pages, 1))

"""Replaces the log by a backup: a kill at any moment leaves either the old log or the backup's.

The new log is prepared beside the old one. Then a file named PENDING lists the remaining steps. From then on, the next
process that opens the directory finishes them. The old log is moved, with its files, into a directory of its own, from
which it can be served.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from openbank.disk import PRIVATE_DIRECTORY, create, replace, sync
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.sqlite.epoch import SUFFIX
from openbank.eventstore.sqlite.location import PENDING, check_file
from openbank.eventstore.sqlite.mark import MARK
from openbank.eventstore.sqlite.schema import FILE, rename_log
from openbank.eventstore.sqlite.whole import Contents, examine
from openbank.progress import OnProgress, unseen
from openbank.sqlite_file import SIDE_FILES, has_journal, has_wal, use_rollback_mode, use_wal_mode

READY = f"{FILE}-restoring"
"""The temporary name of the new log. A left-over file of this name is removed."""
KEPT = "before-restore-"
"""The directory that keeps the previous log: this prefix, and the time of the restore."""
_OF_THE_LOG = (FILE, *(f"{FILE}{suffix}" for suffix in (*SIDE_FILES, SUFFIX)), MARK)


class _Pending(NamedTuple):
    """The steps that remain once the new log is ready. All names are of files in the data directory."""

    kept: str | None
    moved: Sequence[str]
    copied: Sequence[str]


class Prepared(NamedTuple):
    """A verified backup that is ready to replace the log."""

    directory: Path
    contents: Contents

    def put_in_place(self, belonging: Sequence[str], copied: Sequence[str]) -> Path | None:
        """Replaces the log durably.

        Moves the files `belonging` to the old log with it, and leaves a copy of those `copied`. Returns their
        directory; None if there was no log.
        """
        moved = [name for name in (*_OF_THE_LOG, *belonging) if os.path.lexists(self.directory / name)]
        kept = _name(self.directory) if moved else None
        copied = [name for name in copied if kept and (self.directory / name).exists()]
        todo = json.dumps(_Pending(kept, moved, copied)._asdict())
        try:
            replace(self.directory / PENDING, todo + "\n", self.directory / f"{PENDING}.unfinished")
        except OSError:
            _remove(self.directory / READY)
            raise
        try:
            finish_restore(self.directory)
        except OSError as error:
            raise OSError(f"{error}: not finished yet; the next start or restore will do the rest") from error
        return self.directory / kept if kept else None


def prepare_restore(directory: Path, file: Path, progress: OnProgress = unseen) -> Prepared:
    """Copies the backup `file` into `directory`, which the caller holds, and reads all of the copy.

    The file is only read, and may be on a read-only medium. Raises FileNotFoundError, StoreRefused for a file that is
    not a whole backup or is the log itself, OSError if it cannot be read or copied. An error leaves nothing behind.
    """
    finish_restore(directory)
    _check_source(directory, file)
    ready = directory / READY
    try:
        progress("copying", None)
        _copy(file, ready)
        contents = examine(ready, progress)
        use_rollback_mode(ready)
        # A new store id, also if the same backup is restored twice: the events after the first restore are gone.
        rename_log(ready)
        use_wal_mode(ready)
        sync(ready)
    except BaseException as error:
        _remove(ready)
        if isinstance(error, StoreRefused):
            raise StoreRefused(str(error).replace(str(ready), str(file))) from error
        if isinstance(error, sqlite3.Error):
            raise OSError(f"{file} can't be copied to {ready}: {error}") from error
        raise
    return Prepared(directory, contents)


def finish_restore(directory: Path) -> None:
    """Finishes a restore that was killed, and removes one that was not ready. The caller holds the directory. Raises
    StoreRefused, OSError."""
    ready, pending = directory / READY, directory / PENDING
    todo = _read(pending)
    if todo is None:
        _remove(ready)
        Path(f"{pending}.unfinished").unlink(missing_ok=True)
        return
    if ready.exists():
        if todo.kept:
            _keep(directory, directory / todo.kept, todo.moved, todo.copied)
        ready.rename(directory / FILE)
        sync(directory)
    pending.unlink()
    sync(directory)


def _keep(directory: Path, kept: Path, moved: Sequence[str], copied: Sequence[str]) -> None:
    """Does the steps, of which each may have been done before."""
    kept.mkdir(PRIVATE_DIRECTORY, exist_ok=True)
    for name in copied:
        create(kept / name)
        shutil.copyfile(directory / name, kept / name)
        sync(kept / name)
    for name in moved:
        if os.path.lexists(directory / name):
            (directory / name).rename(kept / name)
    sync(kept)
    sync(directory)


def _read(pending: Path) -> _Pending | None:
    try:
        return _Pending(**json.loads(pending.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise StoreRefused(
            f"{pending} can't be read: {error!r}; remove it to stay with the log that is there"
        ) from error


def _check_source(directory: Path, file: Path) -> None:
    if not os.path.lexists(file):
        raise FileNotFoundError(f"{file} is not there")
    check_file(file)
    log = directory / FILE
    if log.is_symlink():
        raise StoreRefused(f"{log} is a link to {log.resolve()}, which stays as it is: remove the link first")
    if log.exists() and log.samefile(file):
        raise StoreRefused(f"{file} is the log itself: move it out of {directory} first")
    if has_wal(file) or has_journal(file):
        raise StoreRefused(
            f"{file} is not a backup: it has a WAL or a journal beside it, as the log of a bank that is served or was"
            f" killed; make a backup of it: openbank backup --data {file.resolve().parent} FILE"
        )


def _copy(file: Path, ready: Path) -> None:
    _remove(ready)
    create(ready)
    with file.open("rb") as source, ready.open("r+b") as target:
        try:
            fcntl.flock(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreRefused(f"{file} is the log of a bank that is being served, or is being written") from None
        shutil.copyfileobj(source, target, 1 << 20)


def _name(directory: Path) -> str:
    """A name that does not exist yet."""
    name = number = f"{KEPT}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    count = 1
    while os.path.lexists(directory / number):
        count += 1
        number = f"{name}-{count}"
    return number


def _remove(path: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)

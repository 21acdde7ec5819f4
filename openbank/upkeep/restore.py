"""Restores a backup: the log, and the other files in the data directory of the previous log."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from openbank.datadir import DataDirectory
from openbank.eventstore.sqlite import FILE, Contents, lock, prepare_restore
from openbank.progress import OnProgress, unseen
from openbank.sinks import sqlite as sinks
from openbank.sqlite_file import SIDE_FILES
from openbank.views import sqlite as views


class Restored(NamedTuple):
    """What the log holds now, and where the previous log is kept, if there was one."""

    contents: Contents
    kept: Path | None


def restore(data: Path, file: Path, progress: OnProgress = unseen) -> Restored:
    """Replaces the log in the directory `data`, which is created if needed, by the backup `file`.

    The file is only read. The previous log is kept, in a directory that can be served from. Views are rebuilt at the
    next start. Sinks' places stay, as they are found in the new log, unless they are another bank's. Raises
    DataDirectoryInUse, StoreRefused, OSError, RecordsUnavailable, and nothing is changed then.
    """
    with DataDirectory(data, "restores a backup") as directory, ExitStack() as stack:
        log = directory.path / FILE
        if log.is_file():
            # Served from another data directory, by a link?
            stack.callback(os.close, lock(log))
        banks = sinks.banks(directory.path)
        prepared = prepare_restore(directory.path, file, progress)
        moved, copied = list(_with_side_files(views.FILE)), list(_with_side_files(sinks.FILE))
        if not banks <= {prepared.contents.bank_id}:
            moved, copied = moved + copied, []
        kept = prepared.put_in_place(moved, copied)
        directory.keep()
        return Restored(prepared.contents, kept)


def _with_side_files(name: str) -> tuple[str, ...]:
    return (name, *(f"{name}{suffix}" for suffix in SIDE_FILES))

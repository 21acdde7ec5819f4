"""A copy of the log in one file, made while a server may be writing."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from openbank.disk import create, sync
from openbank.eventstore.sqlite.schema import FILE


def backup(directory: Path, file: Path) -> None:
    """Copies the log to `file`, a consistent state of it, also while a server writes. Put it back as events.db.

    Raises FileNotFoundError without a log, FileExistsError for a file that is there, OSError where it can't be made.
    """
    source_path = directory / FILE
    if not source_path.exists():
        raise FileNotFoundError(f"{source_path} is not there")
    if file.exists():
        raise FileExistsError(f"{file} exists")
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    create(unfinished)
    source = sqlite3.connect(f"{source_path.resolve().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(unfinished)
    try:
        source.backup(copy)
        # One file that needs no -wal beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        # A log of its own from here on: put back, it is not the log whose views and mark may be further than it is.
        copy.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", (secrets.token_hex(16),))
        copy.commit()
    except sqlite3.Error as error:
        raise OSError(f"{source_path} can't be copied to {unfinished}: {error}") from error
    finally:
        copy.close()
        source.close()
    sync(unfinished)
    unfinished.rename(file)
    sync(file.parent)

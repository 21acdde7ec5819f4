"""Whether a file is a whole log: nothing torn, nothing cut off, every event as it was written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.sqlite.log_file import read_events
from openbank.eventstore.sqlite.schema import UNFINISHED, check_format, check_size
from openbank.progress import OnProgress, unseen
from openbank.sqlite_file import read_without_wal


class Contents(NamedTuple):
    """The position of a log's last event, and its record time in microseconds since 1970 UTC."""

    bank_id: str
    position: int
    time: int | None


def examine(path: Path, progress: OnProgress = unseen) -> Contents:
    """Reads all of the log in the file at `path`, without a WAL: some 8 microseconds an event.

    Raises StoreRefused for a file that is not a whole log of this version, OSError.
    """
    check_size(path)
    with closing(read_without_wal(path)) as connection:
        try:
            check_format(connection, path)
            return _examine(connection, path, progress)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreRefused(f"{path} is damaged: {error}") from error


def _examine(connection: sqlite3.Connection, path: Path, progress: OnProgress) -> Contents:
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if UNFINISHED in meta:
        raise StoreRefused(f"{path} is damaged: a copy into it has not finished")
    progress("checking pages", None)
    (structure,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if structure != "ok":
        raise StoreRefused(f"{path} is damaged: {structure}")
    position, time = 0, None
    (last,) = connection.execute("SELECT max(position) FROM events").fetchone()
    for event in read_events(connection):
        if isinstance(event, str):
            raise StoreRefused(f"{path} is damaged: {event}")
        if event.position != position + 1:
            raise StoreRefused(f"{path} is damaged: position {event.position} follows {position}")
        position, time = event.position, event.metadata.record_time
        progress("checking events", position / last)
    return Contents(str(meta["bank_id"]), position, time)

"""Which database a WAL belongs to.

SQLite replays a WAL into any database beside it with the matching name. A backup that was moved over the log of a
crashed bank would get the pages of that log, and be ruined. So each opening for writing begins an epoch. Its random
name is in the database, and in a file beside the WAL. A WAL beside a database of another epoch belongs to another
database.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from openbank.disk import replace
from openbank.eventstore.errors import StoreRefused
from openbank.sqlite_file import beside, has_wal, read_without_wal

SUFFIX = "-epoch"
"""The suffix of the file's name."""
NO_EPOCH = ""
"""The epoch of a backup, and of a database that no version with epochs has opened yet."""
_ROW = "epoch"
"""Its name in the table `meta`."""
_LOOKS = 3
"""The two are read one after the other, so a bank that starts meanwhile may change them in between: read again."""


def check_wal(path: Path) -> None:
    """Raises StoreRefused where the WAL beside the database at `path` belongs to another one. Changes nothing.

    A WAL passes if there is nothing to compare, as in the directory of an earlier version, or nothing to replay.
    """
    if has_wal(path) and not any(_belongs(path) for _ in range(_LOOKS)):
        raise StoreRefused(
            f"{path}-wal belongs to another log than {path.name}, which would be ruined by it: move {path} out of the"
            f" directory, then restore from it or from a backup: openbank restore --data {path.parent} FILE"
        )


def begin(connection: sqlite3.Connection, path: Path, before: str | None) -> str:
    """Begins a new epoch.

    The database has it only once the WAL is checkpointed: then call `settle`. `before` is the epoch of the database
    without its WAL. Until then the WAL may be beside any of the epochs since.
    """
    epoch = _sealed(secrets.token_hex(16))
    replayed = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).fetchone()
    known = [*(_noted(path) or ()), before, replayed[0] if replayed else NO_EPOCH, epoch]
    _note(path, list(dict.fromkeys(name for name in known if name is not None)))
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ROW, epoch))
    return epoch


def settle(path: Path, epoch: str) -> None:
    """Call once the database itself durably has this epoch."""
    _note(path, [epoch])


def forget(connection: sqlite3.Connection) -> None:
    """Marks the database as a copy, which no WAL belongs to."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_ROW,))


def epoch_of(path: Path) -> str | None:
    """The epoch of the database at `path` without its WAL; None if it cannot be read, as during a checkpoint.

    No connection of this process may have the database open: closing this one would release that one's locks.
    """
    with closing(read_without_wal(path)) as connection, suppress(sqlite3.Error):
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).fetchone()
        if row is None:
            return NO_EPOCH
        # A torn read of an old and a new epoch is neither.
        return str(row[0]) if _is_sealed(str(row[0])) else None
    return None


def _belongs(path: Path) -> bool:
    noted = _noted(path)
    epoch = epoch_of(path)
    return noted is None or epoch is None or epoch in noted


def _noted(path: Path) -> Sequence[str] | None:
    """The epochs that the database of this WAL may have."""
    try:
        return [str(epoch) for epoch in json.loads(beside(path, SUFFIX).read_text())["epochs"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _note(path: Path, epochs: Sequence[str]) -> None:
    file = beside(path, SUFFIX)
    replace(file, json.dumps({"epochs": epochs}) + "\n", file.with_name(f"{file.name}.unfinished"))


def _sealed(name: str) -> str:
    return f"{name}{zlib.crc32(name.encode()):08x}"


def _is_sealed(epoch: str) -> bool:
    return epoch == _sealed(epoch[:-8])

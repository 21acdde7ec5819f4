"""Which database a WAL belongs to.

SQLite replays a WAL into whatever database is beside it under its name: a backup that was moved over the log of a
crashed bank would get the pages of that log, and be ruined. So each opening for writing begins an epoch. Its random
name is in the database, and in a file beside the WAL. A WAL beside a database of another epoch is another's.
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
"""What the file's name adds to that of the database."""
NO_EPOCH = ""
"""Of a backup, and of a database that no version with epochs has opened yet."""
_ROW = "epoch"
"""In the table `meta`."""
_LOOKS = 3
"""A bank that starts meanwhile changes both: they are read one after the other."""


def check_wal(path: Path) -> None:
    """Raises StoreRefused where the WAL beside the database at `path` belongs to another one. Changes nothing.

    Where there is nothing to compare, as in the directory of an earlier version, or nothing to replay, it is taken to
    belong.
    """
    if has_wal(path) and not any(_belongs(path) for _ in range(_LOOKS)):
        raise StoreRefused(
            f"{path}-wal belongs to another log than {path.name}, which would be ruined by it: move {path} out of the"
            f" directory, then restore from it or from a backup: openbank restore --data {path.parent} FILE"
        )


def begin(connection: sqlite3.Connection, path: Path, before: str | None) -> str:
    """A new epoch, of which the database knows only once the WAL is checkpointed: then call `settle`.

    `before` is that of the database without its WAL. Until then the WAL may be beside any of the epochs since.
    """
    epoch = _sealed(secrets.token_hex(16))
    replayed = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).fetchone()
    known = [*(_noted(path) or ()), before, replayed[0] if replayed else NO_EPOCH, epoch]
    _note(path, list(dict.fromkeys(name for name in known if name is not None)))
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ROW, epoch))
    return epoch


def settle(path: Path, epoch: str) -> None:
    """The database itself has this epoch, durably."""
    _note(path, [epoch])


def forget(connection: sqlite3.Connection) -> None:
    """No WAL belongs to this database: it is a copy."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_ROW,))


def epoch_of(path: Path) -> str | None:
    """That of the database at `path` without its WAL; None where it cannot be read, as in the middle of a checkpoint.

    No connection of this process may have it open: closing this one would take that one's locks.
    """
    with closing(read_without_wal(path)) as connection, suppress(sqlite3.Error):
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (_ROW,)).fetchone()
        if row is None:
            return NO_EPOCH
        # Half of an old one and half of a new one is neither.
        return str(row[0]) if _is_sealed(str(row[0])) else None
    return None


def _belongs(path: Path) -> bool:
    noted = _noted(path)
    epoch = epoch_of(path)
    return noted is None or epoch is None or epoch in noted


def _noted(path: Path) -> Sequence[str] | None:
    """The epochs of which the database of this WAL may be."""
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

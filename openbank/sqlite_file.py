"""SQLite files on disk, as they are before SQLite itself opens them for writing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
WAL_HEADER_BYTES = 32
SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by what it adds to the name."""
_JOURNAL_MODE_AT = 18
_ROLLBACK_MODE, _WAL_MODE = bytes((1, 1)), bytes((2, 2))


class Unreadable(OSError):
    """A database cannot be read without write permission for its directory; the message says so in one line."""


class Header(NamedTuple):
    """The first bytes of a database. Sizes are in bytes."""

    page_size: int
    pages: int


def read_header(path: Path) -> Header | None:
    """None for a file that is not an SQLite database, or is shorter than a header. Raises OSError."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    page_size = int.from_bytes(header[16:18], "big")
    return Header(65_536 if page_size == 1 else page_size, int.from_bytes(header[28:32], "big"))


def beside(path: Path, suffix: str) -> Path:
    """The file of SIDE_FILES beside the database, where SQLite looks for it: beside the file itself, not a link."""
    return Path(f"{path.resolve()}{suffix}")


def has_wal(path: Path) -> bool:
    """Whether there is a WAL with more than its header: SQLite replays it into whatever database is beside it."""
    return _size(beside(path, "-wal")) > WAL_HEADER_BYTES


def has_journal(path: Path) -> bool:
    """Whether there is a rollback journal with something in it, which SQLite would undo in the database beside it."""
    return _size(beside(path, "-journal")) > 0


def read_without_wal(path: Path) -> sqlite3.Connection:
    """The file alone. Nothing beside it is read, made or locked."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing to the database or its WAL, also while another process does.

    A database that was closed cleanly can be read from a read-only medium. Raises Unreadable, sqlite3.Error.
    """
    if _is_on_read_only_medium(path):
        return read_without_wal(path)
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if has_wal(path) and not _may_write(path):
            raise Unreadable(
                f"{path} has a WAL, which can only be read with write permission for {path.resolve().parent}:"
                " copy the whole directory to a place that can be written"
            ) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def read_unused(path: Path) -> sqlite3.Connection:
    """`read_only` for a database that nobody else uses: where there is nothing to replay, nothing is made beside it."""
    return read_only(path) if has_wal(path) else read_without_wal(path)


def has_rows(path: Path) -> bool:
    """Whether there is something in any table of a database that nobody uses; also of one that cannot be read."""
    try:
        with closing(read_unused(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for (name,) in tables)
    except (sqlite3.Error, OSError):
        return True


def attach_read_only(connection: sqlite3.Connection, path: Path, name: str) -> None:
    """Adds what `read_only` has opened to a connection that was made with `uri`."""
    mode = "mode=ro&immutable=1" if _is_on_read_only_medium(path) else "mode=ro"
    connection.execute(f"ATTACH ? AS {name}", (f"{path.resolve().as_uri()}?{mode}",))


def use_rollback_mode(path: Path) -> None:
    """Makes a database in WAL mode one file that needs nothing beside it. It has no WAL, and nobody has it open."""
    _write(path, _ROLLBACK_MODE)


def use_wal_mode(path: Path) -> None:
    """Makes a database in rollback mode one in WAL mode, without a journal meanwhile. Nobody has it open."""
    _write(path, _WAL_MODE)


def _is_on_read_only_medium(path: Path) -> bool:
    """Whether it was closed cleanly, and SQLite can make nothing beside it."""
    return not has_wal(path) and not beside(path, "-shm").exists() and not _may_write(path)


def _may_write(path: Path) -> bool:
    return os.access(path.resolve().parent, os.W_OK, effective_ids=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write(path: Path, journal_mode: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(_JOURNAL_MODE_AT)
        file.write(journal_mode)

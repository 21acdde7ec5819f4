"""The file: its tables, whose it is, and what must hold before anybody uses it."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from pathlib import Path

from openbank.disk import create, sync
from openbank.eventstore.port import StoreRefused

FILE = "events.db"
APPLICATION_ID = 0x4F426576
"""In the file's header, so that another program's database is never taken for ours: "OBev"."""
FORMAT = 1
UNFINISHED = "unfinished"
"""In the table `meta` while a copy into the store is under way."""
STATEMENTS = 256
"""Statements kept prepared: one for each number of rows that are inserted together, and the others."""
CACHE_KIB = 16 * 1024

# Added without a new format: a version that does not know it loses nothing, and leaves nothing wrong.
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS snapshots (
    stream INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    data BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
"""

_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE streams (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE types (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    id BLOB NOT NULL,
    type INTEGER NOT NULL,
    data BLOB NOT NULL,
    record_time INTEGER NOT NULL,
    request_id BLOB,
    request_hash BLOB,
    correlation_id TEXT,
    causation_id TEXT,
    owner_id TEXT,
    place INTEGER,
    checksum INTEGER NOT NULL
) STRICT;
{_SNAPSHOTS}
CREATE UNIQUE INDEX events_stream ON events (stream, revision);
CREATE INDEX events_request ON events (stream, request_id) WHERE request_id IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


def lock(path: Path) -> int:
    """Locks the log itself, made where there is none: two data directories may lead to one file by links.

    The lock ends when what is returned is closed, which must come after the last connection: to close any descriptor
    of a file takes SQLite's own locks on it from the whole process. Raises StoreRefused.
    """
    try:
        create(path)
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise StoreRefused(f"{path} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreRefused(f"{path} is in use by a bank with another data directory") from None
    return descriptor


def open_log(path: Path, bank_id: str | None, copying: bool) -> sqlite3.Connection:
    """A connection to the log, made where there is none; all that it then holds is durable.

    Its commits are not synced: `wal.Wal` is what makes them durable. Raises StoreRefused.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    except sqlite3.Error as error:
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    try:
        check_format(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # What a process left in the WAL counts as done from here on, whether or not it was synced, so it must be
        # durable before anything rests on it. A checkpoint writes it anew, into the database, and syncs that: to sync
        # the WAL would not do, as pages whose sync has failed once are taken for clean.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection, bank_id or secrets.token_hex(16), copying)
        _check_identity(connection, path, bank_id, copying)
        connection.execute(_SNAPSHOTS)
        # So that the files themselves are found again after a power cut.
        sync(path.parent)
        # NORMAL, not OFF: the WAL's header must be synced when the WAL begins anew, or what is left of the frames
        # before could be taken for later than what has been checkpointed.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not empty and application != APPLICATION_ID:
        raise StoreRefused(f"{path} is a database of another program")
    if version > FORMAT:
        raise StoreRefused(f"{path} has format {version}, written by a newer version; this one reads {FORMAT}")


def _check_identity(connection: sqlite3.Connection, path: Path, bank_id: str | None, copying: bool) -> None:
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if bank_id is not None and meta["bank_id"] != bank_id:
        raise StoreRefused(f"{path} is of the bank {meta['bank_id']}, not of {bank_id}")
    if UNFINISHED in meta and not copying:
        raise StoreRefused(f"a copy into {path} has not finished: run `openbank copy` again, as it was")


def _create(connection: sqlite3.Connection, bank_id: str, copying: bool) -> None:
    meta = {"bank_id": bank_id, "store_id": secrets.token_hex(16)} | ({UNFINISHED: "yes"} if copying else {})
    connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.execute("COMMIT")

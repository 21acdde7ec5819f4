"""The file: its tables, which bank it belongs to, and the checks before it is used."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from openbank.disk import create, sync
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.sqlite import epoch, quarantine
from openbank.sqlite_file import SIDE_FILES, read_header, use_wal_mode
from openbank.sqlite_wal import (
    CACHE_KIB,
    OPEN_SECONDS_MAX,
    SYNCHRONOUS_FULL,
    SYNCHRONOUS_NORMAL,
    WalFiles,
    emptied,
    make_durable,
    set_pragma,
    use_wal,
)

FILE = "events.db"
APPLICATION_ID = 0x4F426576
"""The application id in the file's header, "OBev", which tells it from another program's database."""
FORMAT = 1
UNFINISHED = "unfinished"
"""In the table `meta` while a copy into the store is unfinished."""
STATEMENTS = 256
"""The number of prepared statements kept: one per number of rows inserted together, and the others."""

NUMBERS = "numbers"
"""In the table `meta` once all account numbers are reserved without hyphens."""

TOKEN_KEY = "token_key"
"""In the table `meta`: what tokens are sealed with, in hexadecimal. Earlier versions ignore it."""

# Added without a new format: a version that does not know the table neither loses nor breaks anything.
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS kept_snapshots (
    stream INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    data BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (stream, revision)
) STRICT, WITHOUT ROWID;
"""
_OLD_SNAPSHOTS = "snapshots"
"""The table of earlier versions, with only the newest snapshot of each stream."""

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
    checksum INTEGER NOT NULL,
    actor TEXT
) STRICT;
{_SNAPSHOTS}
CREATE UNIQUE INDEX events_stream ON events (stream, revision);
CREATE INDEX events_request ON events (stream, request_id) WHERE request_id IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


def create_log(directory: Path, bank_id: str | None, copying: bool) -> Path:
    """Creates an empty log in a directory without one, and returns its path.

    Without a `bank_id` the bank is new. The file gets its name once it is complete and durable, so there is never a log
    without tables or a WAL without a log. Raises StoreRefused.
    """
    path = directory.resolve() / FILE
    unfinished = path.with_name(f"{FILE}.unfinished")
    meta = {"bank_id": bank_id or secrets.token_hex(16), "store_id": secrets.token_hex(16)}
    try:
        for suffix in ("", *SIDE_FILES):
            Path(f"{unfinished}{suffix}").unlink(missing_ok=True)
        create(unfinished)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; {_SCHEMA} COMMIT;")
            # The events that a copy brings may be those of an earlier version.
            rows = meta | ({UNFINISHED: "yes"} if copying else {NUMBERS: "without hyphens"})
            # A copy gets the key of its source.
            rows |= {} if copying else {TOKEN_KEY: TokenKey.new().secret.hex()}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        use_wal_mode(unfinished)
        sync(unfinished)
        unfinished.rename(path)
        sync(directory)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"{path} can't be created: {error}") from error
    return path


def lock(path: Path) -> int:
    """Locks the log itself: two data directories may lead to one file by links.

    The lock ends when the returned descriptor is closed. Close it after the last connection: closing any descriptor of
    a file releases SQLite's own locks on it in the whole process. Raises StoreRefused.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise StoreRefused(f"{path} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreRefused(f"{path} is in use by a bank with another data directory") from None
    return descriptor


def open_log(files: WalFiles, bank_id: str | None, copying: bool) -> sqlite3.Connection:
    """Opens a connection to the log, and makes durable what the log holds.

    The caller has the `lock`, and has checked the log. Commits of the connection are not synced: `wal.Wal` makes them
    durable. The connection waits for no lock, as it is used on the event loop. Raises StoreRefused.
    """
    path = files.path
    before = epoch.epoch_of(path)
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    try:
        check_format(connection, path)
        use_wal(connection)
        set_pragma(connection, "synchronous", SYNCHRONOUS_FULL)
        _check_identity(connection, path, bank_id, copying)
        # What an earlier process left in the WAL counts as committed from here on, synced or not.
        make_durable(connection, files)
        begun = epoch.begin(connection, path, before)
        if emptied(connection):
            epoch.settle(path, begun)
        _add_actors(connection)
        _prepare_snapshots(connection)
        connection.execute(quarantine.TABLE)
        if not copying:
            key = TokenKey.new().secret.hex()
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (TOKEN_KEY, key))
        # The directory entries of the files must survive a power cut too.
        sync(path.parent)
        # NORMAL, not OFF: the WAL's header must be synced when the WAL restarts. Otherwise leftover frames could pass
        # for newer than what has been checkpointed.
        set_pragma(connection, "synchronous", SYNCHRONOUS_NORMAL)
        set_pragma(connection, "wal_autocheckpoint", 0)
        set_pragma(connection, "cache_size", -CACHE_KIB)
        set_pragma(connection, "busy_timeout", 0)
    except (sqlite3.DatabaseError, OSError) as error:
        connection.close()
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def rename_log(path: Path) -> None:
    """Gives a copy of a log a new store id, so that views, mark, epoch and tokens of the original do not belong to it.
    For a file in rollback mode that no other process uses, and that is synced afterwards.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", (secrets.token_hex(16),))
        epoch.forget(connection)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=OPEN_SECONDS_MAX,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreRefused for a log of another version, and for a log without its tables."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreRefused(f"{path} is damaged: it is a database without tables")
    if application != APPLICATION_ID:
        raise StoreRefused(f"{path} is a database of another program")
    if version > FORMAT:
        raise StoreRefused(f"{path} has format {version}, written by a newer version; this one reads {FORMAT}")


def check_size(path: Path) -> None:
    """Checks that the file is as long as its header says. Raises StoreRefused."""
    header, size = read_header(path), path.stat().st_size
    if header is None:
        raise StoreRefused(f"{path} is not a database")
    if header.pages * header.page_size != size:
        raise StoreRefused(
            f"{path} is damaged: it has {size:,} bytes, and its header says {header.pages * header.page_size:,}"
        )


def _check_identity(connection: sqlite3.Connection, path: Path, bank_id: str | None, copying: bool) -> None:
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if bank_id is not None and meta["bank_id"] != bank_id:
        raise StoreRefused(f"{path} belongs to the bank {meta['bank_id']}, not to {bank_id}")
    if UNFINISHED in meta and not copying:
        raise StoreRefused(f"a copy into {path} has not finished: run `openbank copy` again, as it was")


def _add_actors(connection: sqlite3.Connection) -> None:
    """Adds the column that logs of earlier versions do not have. SQLite changes no row for it."""
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(events)")]
    if "actor" not in columns:
        connection.execute("ALTER TABLE events ADD COLUMN actor TEXT")


def _prepare_snapshots(connection: sqlite3.Connection) -> None:
    connection.execute(_SNAPSHOTS)
    old = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (_OLD_SNAPSHOTS,)).fetchone()
    if old[0]:
        connection.executescript(
            f"BEGIN IMMEDIATE; INSERT OR IGNORE INTO kept_snapshots SELECT * FROM {_OLD_SNAPSHOTS};"
            f" DROP TABLE {_OLD_SNAPSHOTS}; COMMIT;"
        )

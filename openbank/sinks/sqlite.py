"""The embedded records: one SQLite file in WAL mode, apart from the views, which may be deleted at any time.

Every save is synced, in a thread. There is one save per page of the log or operator's command.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from openbank.disk import create, sync
from openbank.eventstore.errors import StoreRefused
from openbank.sinks.documents import from_document, to_document
from openbank.sinks.port import NEW, RecordsUnavailable, SinkRecord, StoredRecord
from openbank.sqlite_file import read_only
from openbank.sqlite_wal import (
    OPEN_SECONDS_MAX,
    SYNCHRONOUS_FULL,
    WalFiles,
    is_failed_sync,
    make_durable,
    set_pragma,
    use_wal,
)

FILE = "sinks.db"
APPLICATION_ID = 0x4F42736B
"""In the file's header: "OBsk"."""
FORMAT = 1

_SCHEMA = f"""
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""
_INSERT = "INSERT INTO sinks VALUES (?1, ?3 + 1, ?2) ON CONFLICT DO NOTHING"
_UPDATE = "UPDATE sinks SET record = ?2, version = ?3 + 1 WHERE name = ?1 AND version = ?3"

Done = TypeVar("Done")


class SqliteSinkRecords:
    """`SinkRecords` in `DIRECTORY/sinks.db`. One process at a time: the caller holds the directory's lock."""

    def __init__(self, directory: Path) -> None:
        """Opens or creates the file at the first use: a bank without sinks has no such file."""
        self._path = (directory / FILE).resolve()
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "sinks")

    async def load(self, sink: str) -> StoredRecord | None:
        """Raises StoreRefused for a file of another format. The file is never set aside."""
        select = "SELECT record, version FROM sinks WHERE name = ?"
        row = await self._run(lambda connection: connection.execute(select, (sink,)).fetchone())
        return StoredRecord(from_document(json.loads(row[0])), row[1]) if row else None

    async def save(self, sink: str, record: SinkRecord, version: int) -> int | None:
        text = json.dumps(to_document(record))
        statement = _INSERT if version == NEW else _UPDATE
        changed = await self._run(lambda connection: connection.execute(statement, (sink, text, version)).rowcount)
        return version + 1 if changed else None

    async def close(self) -> None:
        """Waits for a save under way."""
        self._thread.shutdown()
        self._close()

    async def _run(self, work: Callable[[sqlite3.Connection], Done]) -> Done:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._connected, work)
        except (sqlite3.Error, OSError) as error:
            raise RecordsUnavailable(f"{self._path}: {error}") from error

    def _connected(self, work: Callable[[sqlite3.Connection], Done]) -> Done:
        if self._connection is None:
            self._open()
        assert self._connection is not None
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            if is_failed_sync(error):
                # No later sync makes up for it. Opening the file again makes its content durable.
                self._close()
            raise

    def _open(self) -> None:
        create(self._path)
        self._files = WalFiles(self._path)
        try:
            self._connection = _open(self._files)
        except BaseException:
            self._files.close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._files.close()
            self._connection = None


def banks(directory: Path) -> set[str]:
    """The ids of the banks whose sinks have records. Writes nothing. Raises RecordsUnavailable, StoreRefused."""
    path = directory / FILE
    if not path.exists():
        return set()
    try:
        with closing(read_only(path)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return set()
            _check_format(connection, path)
            records = connection.execute("SELECT record FROM sinks").fetchall()
    except sqlite3.Error as error:
        raise RecordsUnavailable(f"{path}: {error}") from error
    return {from_document(json.loads(record)).bank_id for (record,) in records}


def _open(files: WalFiles) -> sqlite3.Connection:
    connection = sqlite3.connect(files.path, timeout=OPEN_SECONDS_MAX, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _check_format(connection, files.path)
        use_wal(connection)
        set_pragma(connection, "synchronous", SYNCHRONOUS_FULL)
        make_durable(connection, files)
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
        sync(files.path.parent)
        return connection
    except BaseException:
        connection.close()
        raise


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise StoreRefused(f"{path} is another program's")
    if version != FORMAT:
        raise StoreRefused(f"{path} has format {version}, written by a newer version; this one reads {FORMAT}")

"""The connections to one file of views: one on the event loop, for reads and small batches, one in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from openbank import sqlite_wal
from openbank.eventstore.port import LogPosition
from openbank.sqlite_wal import WalBound, WalFiles, is_locked, set_pragma
from openbank.views.port import LogId, ViewsDamaged, ViewsFull, ViewsUnavailable
from openbank.views.sqlite.rows import Row
from openbank.views.sqlite.schema import INDEX_REQUESTS, checkpoint, connect, is_damage, prepare, set_aside
from openbank.views.sqlite.widening import widen
from openbank.views.sqlite.writer import in_transaction

_Done = TypeVar("_Done")


class Connections:
    """A file of views. It is opened, or created if there is none that this version can read."""

    def __init__(self, path: Path, *, index_requests: bool) -> None:
        """Raises ViewsUnavailable where no file can be made."""
        self.path = path
        self.gone = False
        """Whether the file at `path` is not this one any more: this one was damaged and set aside, or is replaced."""
        self._closed = False
        try:
            prepare(path)
            self.complete = not widen(path)
            """Whether the views have all that their format has."""
            self._connection = connect(path)
            if index_requests:
                self._connection.execute(INDEX_REQUESTS)
            # The loop must wait neither for a sync, which checkpoints make, nor for a lock of another process.
            set_pragma(self._connection, "wal_autocheckpoint", 0)
            set_pragma(self._connection, "busy_timeout", 0)
            self._bulk = connect(path)
            """For the thread: what it has not committed yet must not be read."""
            self._files = WalFiles(path)
            self._files.open_wal()
        except (sqlite3.Error, OSError) as error:
            raise ViewsUnavailable(f"{path} can't be opened: {error}") from error
        self._thread = ThreadPoolExecutor(1, "views-writer")
        self._bound = WalBound(self._bulk, self._files, self._thread, self._failed)

    def place(self) -> tuple[LogId | None, LogPosition]:
        """The log that these are the views of, and how far they are."""
        try:
            return checkpoint(self._connection)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def read(self, statement: str, *values: object) -> list[Row]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def write_here(self, write: Callable[..., None], *arguments: object) -> bool:
        """False, and nothing done, while another process has the write lock: the thread may wait for it."""
        try:
            in_transaction(self._connection, write, *arguments)
        except sqlite3.Error as error:
            if is_locked(error):
                return False
            raise self._failed(error) from error
        return True

    async def write(self, write: Callable[..., None], *arguments: object) -> None:
        """In the thread."""
        await self._in_thread(in_transaction, self._bulk, write, *arguments)
        self._bound.look()

    async def checkpoint(self) -> None:
        """As far as no reader prevents it."""
        await self._in_thread(sqlite_wal.checkpoint, self._bulk, "PASSIVE")
        self._bound.look()

    async def empty_wal(self) -> bool:
        """Whether the database has all of the WAL now, synced, and the WAL is empty; a reader is not waited for.

        Nobody needs that of a file that was set aside.
        """
        if self.gone:
            return True
        await self.checkpoint()
        return await self._in_thread(sqlite_wal.emptied, self._bulk)

    async def close(self) -> None:
        """Waits for what is under way. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self._bound.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._bulk.close()
        self._connection.close()
        self._files.close()

    async def _in_thread(self, work: Callable[..., _Done], *arguments: object) -> _Done:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ViewsUnavailable:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return ViewsFull(f"{self.path}: {error}")
        if not is_damage(error):
            return ViewsUnavailable(f"{self.path}: {error}")
        if not self.gone and self.path.exists():
            set_aside(self.path)
        self.gone = True
        told = "openbank rebuild or the next start builds it again"
        return ViewsDamaged(f"{self.path} is damaged ({error}) and set aside: {told}")

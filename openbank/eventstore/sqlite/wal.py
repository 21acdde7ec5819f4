"""Durability: the WAL is synced after each commit, before any of its events is acknowledged or shown.

SQLite would sync within the commit, and the event loop would wait for the disk. So the commit is made on the loop,
without a sync, and the sync in a thread, which releases the GIL while it waits. If the disk is faster than a switch of
threads, the sync is made on the loop too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from openbank.instruments import Histogram
from openbank.sqlite_wal import (
    SYNCHRONOUS_FULL,
    Checkpointed,
    WalBound,
    WalFiles,
    checkpoint,
    is_failed_sync,
    set_pragma,
)

FRAMES_MAX = 4_000
"""Pages in the WAL (4 KiB each) after which it should restart: it is then overwritten from its beginning and stops
growing."""

LOOP_SECONDS_MAX = 0.0005
"""How long a sync may block the loop. A slower one moves syncs to the thread at once; dozens of fast ones bring them
back."""

EXIT_SYNC_FAILED = 74
"""EX_IOERR."""

_log = logging.getLogger(__name__)


def end_process(reason: str) -> None:
    """A failed sync cannot be repeated: the kernel has marked the pages clean, so a second sync would succeed and mean
    nothing. The next start writes the WAL again.
    """
    _log.critical("event store cannot be synced", extra={"values": {"reason": reason, "exit": EXIT_SYNC_FAILED}})
    logging.shutdown()
    os._exit(EXIT_SYNC_FAILED)


class Wal:
    """The WAL of `files`, whose database is open. `fail` is called when a sync fails, and must end the process."""

    def __init__(self, files: WalFiles, fail: Callable[[str], None] = end_process) -> None:
        self._fail = fail
        self._files = files
        self._connection = sqlite3.connect(files.path, timeout=0, isolation_level=None, check_same_thread=False)
        set_pragma(self._connection, "synchronous", SYNCHRONOUS_FULL)
        self._sync_seconds = 1.0
        """How long a sync is expected to take."""
        self.syncs = Histogram()
        """How long each took, in seconds."""
        self._syncing = ThreadPoolExecutor(1, "events-sync")
        self._checkpointing = ThreadPoolExecutor(1, "events-checkpoint")
        self._bound = WalBound(self._connection, files, self._checkpointing, self._failed)

    async def sync(self) -> None:
        """Makes everything durable that was committed before this call."""
        try:
            if self._sync_seconds <= LOOP_SECONDS_MAX:
                self._sync()
            else:
                await asyncio.get_running_loop().run_in_executor(self._syncing, self._sync)
        except OSError as error:
            self._fail(str(error))
            raise

    async def checkpoint(self) -> bool:
        """Writes the content of the WAL into the database.

        Returns whether the WAL has grown so far that it should restart. It restarts with the first commit after a
        checkpoint of everything. Commits may be made during a checkpoint, but then that moment may never come. So when
        a restart is due, commits must wait for a second checkpoint, of the little that is left.
        """
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._checkpointing, self._checkpoint)
        except sqlite3.Error as error:
            self._failed(error)
            return False
        self._bound.look()
        # A checkpoint that a reader holds up does not get further if commits wait for it.
        return done.is_whole and done.frames > FRAMES_MAX

    async def close(self) -> None:
        """Call once, before the last other connection is closed, which checkpoints once more."""
        await self._bound.close()
        self._syncing.shutdown()
        self._checkpointing.shutdown()
        self._connection.close()

    def _failed(self, error: sqlite3.Error) -> None:
        """If only a write has failed, the WAL still has everything, and grows until the next try."""
        _log.warning("checkpoint failed", extra={"values": {"reason": str(error)}})
        if is_failed_sync(error):
            self._fail(str(error))

    def _sync(self) -> None:
        begin = time.perf_counter()
        os.fdatasync(self._files.wal)
        took = time.perf_counter() - begin
        self.syncs.observe(took)
        self._sync_seconds = max(took, 0.8 * self._sync_seconds + 0.2 * took)

    def _checkpoint(self) -> Checkpointed:
        return checkpoint(self._connection, "PASSIVE")

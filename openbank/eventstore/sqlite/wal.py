"""Durability: the WAL is synced after each commit, before anything of it is acknowledged or shown.

SQLite would sync within the commit, and the event loop would wait for any disk. So the commit is made on the loop,
unsynced, and the sync in a thread, which needs no Python while it waits; but where the disk is faster than two threads
change places, the sync is on the loop too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
"""Pages in the WAL (4 KiB each) past which it is to begin anew: it is then rewritten in place, and grows no more."""

LOOP_SECONDS_MAX = 0.0005
"""What the loop waits for a sync. A slower one is at once the last on the loop; dozens of fast ones bring them back."""

EXIT_SYNC_FAILED = 74
"""EX_IOERR."""

_log = logging.getLogger(__name__)


def end_process(reason: str) -> None:
    """A sync that failed cannot be made up for: the kernel has taken the pages for clean, so that a second one would
    succeed and mean nothing. What was not acknowledged is left to the next start, which writes the WAL anew.
    """
    _log.critical("event store cannot be synced", extra={"values": {"reason": reason, "exit": EXIT_SYNC_FAILED}})
    logging.shutdown()
    os._exit(EXIT_SYNC_FAILED)


class Wal:
    """The WAL of `files`, whose database is open. `fail` is called when a sync fails, and is to end it all."""

    def __init__(self, files: WalFiles, fail: Callable[[str], None] = end_process) -> None:
        self._fail = fail
        self._files = files
        self._connection = sqlite3.connect(files.path, timeout=0, isolation_level=None, check_same_thread=False)
        set_pragma(self._connection, "synchronous", SYNCHRONOUS_FULL)
        self._sync_seconds = 1.0
        """What a sync is expected to take."""
        self._syncing = ThreadPoolExecutor(1, "events-sync")
        self._checkpointing = ThreadPoolExecutor(1, "events-checkpoint")
        self._bound = WalBound(self._connection, files, self._checkpointing, self._failed)

    async def sync(self) -> None:
        """Makes durable all that was committed before this call."""
        try:
            if self._sync_seconds <= LOOP_SECONDS_MAX:
                self._sync()
            else:
                await asyncio.get_running_loop().run_in_executor(self._syncing, self._sync)
        except OSError as error:
            self._fail(str(error))
            raise

    async def checkpoint(self) -> bool:
        """Writes what the WAL holds into the database. Whether the WAL has grown so far that it should begin anew.

        It does so with the first commit after a checkpoint of all there was. Commits may be made meanwhile, but then
        that one may never come: so when it is due, a second checkpoint, of what little is left, must be waited for.
        """
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._checkpointing, self._checkpoint)
        except sqlite3.Error as error:
            self._failed(error)
            return False
        self._bound.look()
        # One that a reader holds up does not get further if commits wait for it.
        return done.is_whole and done.frames > FRAMES_MAX

    async def close(self) -> None:
        """To be called once, before the last other connection is closed, which checkpoints once more."""
        await self._bound.close()
        self._syncing.shutdown()
        self._checkpointing.shutdown()
        self._connection.close()

    def _failed(self, error: sqlite3.Error) -> None:
        """Where only a write has failed, the WAL has it all, and grows until the next try."""
        _log.warning("checkpoint failed", extra={"values": {"reason": str(error)}})
        if is_failed_sync(error):
            self._fail(str(error))

    def _sync(self) -> None:
        begin = time.perf_counter()
        os.fdatasync(self._files.wal)
        took = time.perf_counter() - begin
        self._sync_seconds = max(took, 0.8 * self._sync_seconds + 0.2 * took)

    def _checkpoint(self) -> Checkpointed:
        return checkpoint(self._connection, "PASSIVE")

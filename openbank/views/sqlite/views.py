"""The port's methods on one SQLite file in WAL mode, used on the event loop.

A read by key takes some ten microseconds, a hand-over to a thread and back more than a hundred, and beside a busy loop
a thread waits for the GIL again at every row: so reads and small batches stay where they are. A large batch, as a
rebuild has them, goes to a thread, in few and large statements for the same reason.

Views can be rebuilt, so commits need not be synced: `synchronous=NORMAL` may lose the last commits in a
power cut, data and checkpoint together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from openbank.domain.tags import NO_TAGS
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.pause import Pause
from openbank.views.changes import AccountEventRecorded, AccountInserted, AccountUpdated, Change
from openbank.views.port import (
    LogId,
    ViewsDamaged,
    ViewsReplaced,
    ViewsUnavailable,
)
from openbank.views.rebuild import Advance, RebuildRecord
from openbank.views.sqlite.connections import Connections
from openbank.views.sqlite.reads import SqliteReads
from openbank.views.sqlite.schema import FILE, replace_file
from openbank.views.sqlite.writer import clear, keep_rebuild, project
from openbank.views.terms import count
from openbank.views.waiters import Waiters

LOOP_CHANGES_MAX = 256
"""A batch with more of them would hold up the event loop for too long."""
NEAR_EVENTS = 1_000
"""A read that waits for a position further ahead than this does not need smaller batches."""
REST_SECONDS_MAX = 0.02
"""Between two small batches: a transaction costs as much as some ten changes in it. A read that waits ends the rest."""
REST_CHANGES = LOOP_CHANGES_MAX // 2
"""How many changes are to come together in a rest. It is shorter where more would: a large batch costs more."""
CHECKPOINT_CHANGES = 4_000
"""Made on the loop between two checkpoints, which are a thread's. The projector waits for each, so that the WAL can
restart after it."""


class SqliteViews(SqliteReads):
    """`Views` in `DIRECTORY/views.db`. One process at a time: the caller holds the directory's lock."""

    shared = False
    available = True
    log: LogId | None
    place: LogPosition

    def __init__(self, directory: Path, *, index_requests: bool = False, file: str = FILE, rests: bool = True) -> None:
        """Opens the views, or makes empty ones where there are none that this version can read, with a line.

        With `index_requests` they are a `RequestIndex` as well, for a store that has no index of its own. Those that
        do not rest between small batches are never behind for longer than a batch takes: new views must catch up with
        those that serve. Raises ViewsUnavailable where no file can be made.
        """
        self._rests = rests
        self._path = (directory / file).resolve()
        self._index_requests = index_requests
        super().__init__(self._open())
        self.log, self.place = self._file.place()
        self.generation = 0
        """Counts how often other views have taken the place of these."""
        self._writing = asyncio.Lock()
        """Held while the file changes, or is replaced."""
        self._failure: ViewsDamaged | None = None
        """Why nothing may be written any more."""
        self._waiters = Waiters()
        self._resting = Pause()
        self._rest_seconds = REST_SECONDS_MAX
        self._changes = 0
        """Made on the loop since the last checkpoint."""

    @property
    def complete(self) -> bool:
        return self._file.complete

    async def wait_for(self, position: int) -> None:
        while self.place.position < position:
            if self._is_near(position):
                self._resting.end()
            await self._waiters.wait(position)

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        small = len(changes) <= LOOP_CHANGES_MAX and _rows(changes) <= LOOP_CHANGES_MAX
        generation = self.generation
        async with self._writing:
            if self.generation != generation:
                raise ViewsReplaced(f"{self._path}: a rebuild took the place of the views before they were written")
            await self._project(changes, through, after, small)
            awaited = self._waiters.any_up_to(self.place.position + NEAR_EVENTS)
            self._waiters.reached(self.place.position)
            if self._changes >= CHECKPOINT_CHANGES:
                self._changes = 0
                await self._file.checkpoint()
        self._rest_seconds = min(self._rest_seconds * REST_CHANGES / max(1, len(changes)), REST_SECONDS_MAX)
        if self._rests and small and not awaited:
            # A little more comes together for the next batch.
            await self._resting.wait(self._rest_seconds)

    async def _project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition, small: bool) -> None:
        if self._failure is not None:
            raise self._failure
        if self.place.position < after.position:
            raise ViewsUnavailable(f"{self._path}: a rebuild of the views began before position {after.position}")
        try:
            if small and self._file.write_here(project, changes, through):
                self._changes += len(changes)
            else:
                await self._file.write(project, changes, through)
        finally:
            self._forget(changes)
        if through.position > self.place.position:
            self.place = through

    def _forget(self, changes: Sequence[Change]) -> None:
        """Forgets what was read before these changes, which may have been made."""
        if self._kept.is_empty:
            # As in a rebuild, whose views nobody reads yet.
            return
        for change in changes:
            if isinstance(change, AccountUpdated):
                self._kept.changed(change.account_id)
            elif isinstance(change, AccountInserted):
                self._kept.opened(change.account.state.owner_id)

    async def clear(self, log: LogId) -> None:
        async with self._writing:
            await self._file.write(clear, log)
            self._kept.clear()
            self.log, self.place = log, BEGINNING
            self.generation += 1

    def rebuild(self) -> RebuildRecord | None:
        """What `keep_rebuild` was given last."""
        if not self._read("SELECT 1 FROM sqlite_master WHERE name = 'rebuild'"):
            return None
        rows = self._read("SELECT start_time, end_time, failure FROM rebuild")
        return RebuildRecord(rows[0][0], BEGINNING, *rows[0][1:]) if rows else None

    async def keep_rebuild(self, record: RebuildRecord) -> None:
        async with self._writing:
            await self._file.write(keep_rebuild, record.start_time, record.end_time, record.failure)

    async def replace_by(self, other: SqliteViews, catch_up: Advance) -> bool:
        """Serves what is in the file of `other`, which is closed, from now on, in place of its own.

        False, and nothing done, while `other` is not as far after it has caught up once, or another process keeps a WAL
        from being emptied. Raises ViewsDamaged where the files could not be replaced: the next start finds one or the
        other, whole.
        """
        # Most of it while others may still write.
        if not self._file.gone:
            await self._file.checkpoint()
        await other._file.checkpoint()
        async with self._writing:
            if self._failure is not None:
                raise self._failure
            if other.place.position < self.place.position:
                await catch_up()
            if other.place.position < self.place.position or other.log != self.log:
                return False
            if not (await self._file.empty_wal() and await other._file.empty_wal()):
                return False
            await other.close()
            self._file.gone = True
            try:
                # Reads continue from the old file, which stays open.
                opened = await asyncio.to_thread(self._open_replaced, other._path)
            except (OSError, ViewsUnavailable) as error:
                self._failure = ViewsDamaged(f"{self._path} could not be replaced ({error}): start the bank again")
                raise self._failure from error
            old, self._file = self._file, opened
            self._kept.clear()
            self.place = other.place
            self.generation += 1
            self._waiters.reached(self.place.position)
            await old.close()
        return True

    def _open_replaced(self, other: Path) -> Connections:
        replace_file(self._path, other)
        return self._open()

    async def close(self) -> None:
        """Waits for a batch under way."""
        async with self._writing:
            await self._file.close()

    def _open(self) -> Connections:
        return Connections(self._path, index_requests=self._index_requests)

    def _is_near(self, position: int) -> bool:
        return position <= self.place.position + NEAR_EVENTS


def _rows(changes: Sequence[Change]) -> int:
    """How many rows they write: a movement with tags may have many terms."""
    tagged = [change for change in changes if isinstance(change, AccountEventRecorded) and change.tags is not NO_TAGS]
    return len(changes) + sum([count(change.tags) for change in tagged])

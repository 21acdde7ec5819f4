"""The port's methods on one SQLite file in WAL mode, used on the event loop.

A read by key takes some ten microseconds, a hand-over to a thread and back more than a hundred, and beside a busy loop
a thread waits for the GIL again at every row: so reads and small batches stay where they are. A large batch, as a
rebuild has them, goes to a thread, in few and large statements for the same reason.

Views can be rebuilt, so commits need not be synced: `synchronous=NORMAL` may lose the last commits in a
power cut, data and checkpoint together.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

from openbank import sqlite_wal
from openbank.domain.account import Account
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.person import Person
from openbank.domain.transfers import UNSETTLED, Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition, RecordedEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.streams import ACCOUNT, split
from openbank.pause import Pause
from openbank.sqlite_wal import WalBound, WalFiles, is_locked, set_pragma
from openbank.views.changes import AccountUpdated, Change
from openbank.views.port import (
    MINUTE_MICROSECONDS,
    NO_MINUTE,
    DueHold,
    Listed,
    ListedTransfer,
    LogId,
    Movement,
    MovementFilter,
    Standing,
    ViewsDamaged,
    ViewsUnavailable,
)
from openbank.views.sqlite import questions
from openbank.views.sqlite.rows import Row, account_of, event_of, hold_of, person_of, totals_of, transfer_of
from openbank.views.sqlite.schema import FILE, INDEX_REQUESTS, checkpoint, connect, is_damage, prepare, set_aside
from openbank.views.sqlite.transfers import COUNT_FROM, newest_transfers, oldest_transfers
from openbank.views.sqlite.writer import clear, in_transaction, project
from openbank.views.standings import movement_of, standing_of
from openbank.views.waiters import Waiters

ACCOUNTS_MAX = 20_000
"""The most accounts kept in memory, about 600 bytes each. When the cache is full, it is cleared."""
BULK_CACHE_KIB = 4 * 1024
LOOP_CHANGES_MAX = 256
"""A batch with more of them would hold up the event loop for too long."""
NEAR_EVENTS = 1_000
"""A read that waits for a position further ahead than this does not need smaller batches."""
REST_SECONDS = 0.002
"""Between two small batches: a transaction costs as much as some ten changes in it."""
CHECKPOINT_CHANGES = 4_000
"""Made on the loop between two checkpoints, which are a thread's. The projector waits for each, so that the WAL can
restart after it."""

_FIND_REQUESTS = """
SELECT revision FROM account_events WHERE account = ? AND request_id IN ({marks}) AND request_id <> x''
"""


class SqliteViews:
    """`Views` in `DIRECTORY/views.db`. One process at a time: the caller holds the directory's lock."""

    shared = False
    available = True
    log: LogId | None
    position: LogPosition

    def __init__(self, directory: Path, *, index_requests: bool = False) -> None:
        """Opens the views, or makes empty ones where there are none that this version can read, with a line.

        With `index_requests` they are a `RequestIndex` as well, for a store that has no index of its own. Raises
        ViewsUnavailable where no file can be made.
        """
        self._path = (directory / FILE).resolve()
        try:
            prepare(self._path)
            self._connection = connect(self._path)
            if index_requests:
                self._connection.execute(INDEX_REQUESTS)
            # The loop must wait neither for a sync, which checkpoints make, nor for a lock of another process.
            set_pragma(self._connection, "wal_autocheckpoint", 0)
            set_pragma(self._connection, "busy_timeout", 0)
            self._bulk = connect(self._path)
            """For the thread: what it has not committed yet must not be read."""
            set_pragma(self._bulk, "cache_size", -BULK_CACHE_KIB)
            self.log, self.position = checkpoint(self._connection)
            self._files = WalFiles(self._path)
            self._files.open_wal()
        except (sqlite3.Error, OSError) as error:
            raise ViewsUnavailable(f"{self._path} can't be opened: {error}") from error
        self._writing = ThreadPoolExecutor(1, "views-writer")
        self._bound = WalBound(self._bulk, self._files, self._writing, self._failed)
        self._accounts: dict[str, Versioned[Account]] = {}
        """As they are, of those that were read lately."""
        self._waiters = Waiters()
        self._resting = Pause()
        self._changes = 0
        """Made on the loop since the last checkpoint."""

    async def wait_for(self, position: int) -> None:
        while self.position.position < position:
            if self._is_near(position):
                self._resting.end()
            await self._waiters.wait(position)

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        if self.position.position < after.position:
            raise ViewsUnavailable(f"{self._path}: a rebuild of the views began before position {after.position}")
        small = len(changes) <= LOOP_CHANGES_MAX
        if not small or not self._project_here(changes, through):
            await self._write(project, changes, through)
        for change in changes:
            if isinstance(change, AccountUpdated):
                self._accounts.pop(change.account_id, None)
        if through.position > self.position.position:
            self.position = through
        awaited = self._waiters.any_up_to(self.position.position + NEAR_EVENTS)
        self._waiters.reached(self.position.position)
        if self._changes >= CHECKPOINT_CHANGES:
            self._changes = 0
            await self._in_thread(sqlite_wal.checkpoint, self._bulk, "PASSIVE")
            self._bound.look()
        if small and not awaited:
            # A little more comes together for the next batch.
            await self._resting.wait(REST_SECONDS)

    async def clear(self, log: LogId) -> None:
        await self._write(clear, log)
        self._accounts.clear()
        self.log, self.position = log, BEGINNING

    async def person(self, person_id: str) -> Versioned[Person] | None:
        rows = self._read("SELECT * FROM persons WHERE person_id = ?", person_id)
        return person_of(rows[0]) if rows else None

    async def persons(self, after: int, limit: int) -> Sequence[Listed[Person]]:
        rows = self._read("SELECT * FROM persons WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        return [Listed(row[0], person_of(row)) for row in rows]

    async def account(self, account_id: str) -> Versioned[Account] | None:
        known = self._accounts.get(account_id)
        if known is not None:
            return known
        rows = self._read("SELECT * FROM accounts WHERE account_id = ?", account_id)
        return self._kept(account_of(rows[0])) if rows else None

    async def accounts_by_number(self, key: str) -> Sequence[Versioned[Account]]:
        rows = self._read("SELECT * FROM accounts WHERE number_key = ? ORDER BY position", key)
        return [account_of(row) for row in rows]

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        where = "FROM accounts WHERE owner_id = ? AND position > ? ORDER BY position LIMIT ?"
        rows = self._read(f"SELECT position, account_id {where}", owner_id, after, limit)
        try:
            return [Listed(position, self._accounts[account_id]) for position, account_id in rows]
        except KeyError:
            rows = self._read(f"SELECT * {where}", owner_id, after, limit)
            return [Listed(row[0], self._kept(account_of(row))) for row in rows]

    async def hold(self, hold_id: str) -> Versioned[HoldRecord] | None:
        rows = self._read("SELECT * FROM holds WHERE hold_id = ?", hold_id)
        return hold_of(rows[0]) if rows else None

    async def holds(
        self, account_id: str, states: Collection[HoldState], before: int, limit: int
    ) -> Sequence[Listed[HoldRecord]]:
        rows = [row for state in states for row in self._read(questions.HOLDS, account_id, state.value, before, limit)]
        newest_first = sorted(rows, key=itemgetter(0), reverse=True)
        return [Listed(row[0], hold_of(row)) for row in newest_first[:limit]]

    async def due_holds(self, time: int, after: DueHold, limit: int) -> Sequence[DueHold]:
        return [DueHold(*row) for row in self._read(questions.DUE, time, after.expire_time, after.position, limit)]

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        return [event_of(row) for row in self._read(questions.EVENTS, account_id, before, limit)]

    async def standing(self, account_id: str, revision: int) -> Standing | None:
        rows = self._read(questions.STANDING, account_id, revision)
        return standing_of(event_of(rows[0]), totals_of(rows[0])) if rows else None

    async def standing_at(self, account_id: str, time: int, revision: int) -> Standing | None:
        rows = self._read(questions.STANDING_AT, account_id, time, revision)
        return standing_of(event_of(rows[0]), totals_of(rows[0])) if rows else None

    async def entries(self, account_id: str, after: int, through: int, limit: int) -> Sequence[Movement]:
        rows = self._read(questions.ENTRIES, account_id, after, through, limit)
        return [movement_of(event_of(row), totals_of(row)) for row in rows]

    async def movements(self, filter: MovementFilter, before: int, limit: int) -> Sequence[Movement]:
        statement, by = questions.newest_movements(filter)
        return [movement_of(event_of(row), totals_of(row)) for row in self._read(statement, by, before, limit)]

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """Exact for accounts. Nothing is known of other streams: they are short, and the store reads them itself."""
        category, account_id = split(stream)
        # The revision first: whatever is committed between the two, every event up to it is there.
        rows = self._read("SELECT position, revision FROM accounts WHERE account_id = ?", account_id)
        if category != ACCOUNT or not rows:
            return Indexed([], NO_STREAM)
        [(account, through)] = rows
        marks = ", ".join("?" * len(request_ids))
        found = self._read(_FIND_REQUESTS.format(marks=marks), account, *request_ids)
        return Indexed([revision for (revision,) in found], through)

    async def transfer(self, transfer_id: str) -> Transfer | None:
        rows = self._read("SELECT * FROM transfers WHERE transfer_id = ? AND position IS NOT NULL", transfer_id)
        return transfer_of(rows[0]).transfer if rows else None

    async def transfers(
        self, account_id: str, states: Sequence[TransferState], before: int, limit: int
    ) -> Sequence[ListedTransfer]:
        statement, values = newest_transfers(account_id, states, before, limit)
        return [transfer_of(row) for row in self._read(statement, *values)]

    async def unsettled_transfers(self, after: int, limit: int) -> Sequence[ListedTransfer]:
        statement, values = oldest_transfers(UNSETTLED, after, limit)
        return [transfer_of(row) for row in self._read(statement, *values)]

    async def unsettled_from(self, account_id: str) -> int:
        return int(self._read(COUNT_FROM, account_id, *UNSETTLED)[0][0])

    async def place_before(self, time: int) -> LogPosition:
        rows = self._read(
            "SELECT position, stream, revision FROM minutes WHERE minute <= ? ORDER BY minute DESC LIMIT 1",
            time // MINUTE_MICROSECONDS,
        )
        return LogPosition(*rows[0]) if rows else BEGINNING

    async def last_minute(self) -> int:
        return int(self._read("SELECT coalesce(max(minute), ?) FROM minutes", NO_MINUTE)[0][0])

    async def close(self) -> None:
        """Waits for a batch under way."""
        await self._bound.close()
        self._writing.shutdown()
        self._bulk.close()
        self._connection.close()
        self._files.close()

    def _kept(self, account: Versioned[Account]) -> Versioned[Account]:
        if len(self._accounts) >= ACCOUNTS_MAX:
            self._accounts.clear()
        self._accounts[account.state.account_id] = account
        return account

    def _read(self, statement: str, *values: object) -> list[Row]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _is_near(self, position: int) -> bool:
        return position <= self.position.position + NEAR_EVENTS

    def _project_here(self, changes: Sequence[Change], through: LogPosition) -> bool:
        """False, and nothing done, while another process has the write lock: the thread may wait for it."""
        try:
            in_transaction(self._connection, project, changes, through)
        except sqlite3.Error as error:
            if is_locked(error):
                return False
            raise self._failed(error) from error
        self._changes += len(changes)
        return True

    async def _write(self, write: Callable[..., None], *arguments: object) -> None:
        await self._in_thread(in_transaction, self._bulk, write, *arguments)
        self._bound.look()

    async def _in_thread(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, work, *arguments)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ViewsUnavailable:
        if not is_damage(error):
            return ViewsUnavailable(f"{self._path}: {error}")
        if self._path.exists():
            set_aside(self._path)
        return ViewsDamaged(f"{self._path} is damaged ({error}) and set aside: the next start rebuilds it")

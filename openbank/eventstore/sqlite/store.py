"""The port's methods on one SQLite file, used on the event loop.

Appends that arrive while a commit is being synced share the next one, so that one sync serves them all. What is
committed and not yet synced is acknowledged to nobody and shown to nobody.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from openbank.eventstore.errors import AppendTooLarge, OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.eventstore.port import (
    APPEND_BYTES_MAX,
    BEGINNING,
    NO_STREAM,
    KeptRecord,
    LogPosition,
    LogSlice,
    Newest,
    NewEvent,
    RecordedEvent,
    Snapshot,
)
from openbank.eventstore.sqlite import quarantine
from openbank.eventstore.sqlite.check import check_start
from openbank.eventstore.sqlite.location import find_log
from openbank.eventstore.sqlite.mark import note_stop
from openbank.eventstore.sqlite.reader import FileReader
from openbank.eventstore.sqlite.restore import finish_restore
from openbank.eventstore.sqlite.schema import NUMBERS, UNFINISHED, create_log, lock, open_log
from openbank.eventstore.sqlite.snapshots import Snapshots
from openbank.eventstore.sqlite.wal import Wal, end_process
from openbank.eventstore.sqlite.writer import Append, Locked, Outcome, Writer, WrittenAppend
from openbank.eventstore.streams import NUMBER
from openbank.pause import Pause
from openbank.sqlite_wal import WalFiles

BATCH_EVENTS_MAX = 2_000
"""Events in one commit."""
GATHER_APPENDS_MAX = 32
GATHER_SECONDS_MAX = 0.01
"""How long a commit waits for as many appends as the one before it had, and how many it waits for at the most: so
that of many callers some are being answered and ask again while the others' commit is being synced."""
LOCK_SECONDS_MAX = 1.0
"""How long a commit waits for another process that has the write lock."""
LOCK_RETRY_SECONDS = 0.005
CHECKPOINT_EVENTS = 2_000
"""Committed between two checkpoints."""
BUFFER_EVENTS_MAX = 10_000
"""Committed events that wait for one subscriber; past it the subscriber reads them from the file instead."""
PAGE = 1_000
STEP = 250
"""Events read without a pause, which others on the loop have to wait for."""
SCAN_STEP = 5_000
"""Events looked at without a pause, which takes as long as to read STEP of them."""


class SqliteEventStore:
    """`EventStore` in `DIRECTORY/events.db`. One process at a time: the caller holds the directory's lock."""

    sole_writer = True
    after_loss = "restore a backup: openbank restore; or continue with what is left of the log: openbank accept-loss"

    def __init__(
        self,
        directory: Path,
        *,
        bank_id: str | None = None,
        copying: bool = False,
        sync_failed: Callable[[str], None] = end_process,
    ) -> None:
        """Opens the store, or makes it, of the bank `bank_id` where that matters.

        One that is made by `copying` can be opened only so until it is `copied`: nobody is to be served from half a
        log. `sync_failed` is called where the disk fails to keep what it was given, and is not to return into a process
        that goes on. Raises StoreRefused for a file that is not this version's, is of another bank, or has lost events.
        """
        finish_restore(directory)
        path = find_log(directory) or create_log(directory, bank_id, copying)
        self._files = WalFiles(path, lock(path))
        try:
            check_start(directory, path)
            self._connection = open_log(self._files, bank_id, copying)
        except BaseException:
            self._files.close()
            raise
        self._writer = Writer(self._connection)
        self._reader = FileReader(self._connection)
        self._snapshots = Snapshots(self._connection)
        self._directory = directory
        self.bank_id = self._writer.meta("bank_id")
        self.store_id = self._writer.meta("store_id")
        self._head = self._writer.last()
        """The last event that is durable."""
        self._wal = Wal(self._files, sync_failed)
        self._pending: deque[Append] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._gathering = Pause()
        self._company = 1
        """How many appends the last commit had."""
        self._checkpointing: asyncio.Task[bool] | None = None
        self._checkpointed = self._head.position
        self._subscribers: set[_Subscriber] = set()
        self._closed = False
        self._failed = False
        """Whether a sync has: nothing more may be read or written."""
        self.writable = True

    def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if sum([len(event.data) for event in events]) > APPEND_BYTES_MAX:
            done.set_exception(AppendTooLarge(stream))
            return done
        if self._closed or self._failed:
            done.set_exception(StoreUnavailable("the event store is closed"))
            return done
        self._pending.append(Append(stream, expected_revision, events, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_pending())
        elif len(self._pending) == self._company:
            self._gathering.end()
        return done

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = PAGE) -> Sequence[RecordedEvent]:
        events: list[RecordedEvent] = []
        while True:
            self._check_open()
            step = min(STEP, limit - len(events))
            some = self._reader.stream(stream, after, step, self._head.position)
            events += some
            if len(some) < step or len(events) >= limit:
                return events
            after = some[-1].revision
            await asyncio.sleep(0)

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        self._check_open()
        return self._reader.end(stream, limit, self._head.position)

    async def read_newest(self, stream: str, limit: int) -> Newest:
        return Newest(await self.read_end(stream, limit), await self.snapshot(stream))

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        self._check_open()
        return self._snapshots.newest(stream, through)

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if not (self._closed or self._failed):
            self._snapshots.keep(stream, snapshot)

    async def quarantine(self) -> KeptRecord:
        self._check_open()
        return quarantine.load(self._connection)

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        self._check_open()
        saved = quarantine.save(self._connection, data, version)
        if saved is not None:
            try:
                await self._wal.sync()
            except OSError as error:
                self._failed = True
                raise OutcomeUnknown(str(error)) from error
        return saved

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        self._check_open()
        return self._reader.requests(stream, request_ids, self._head.position)

    async def read_log(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        head = self._head
        if after.position >= head.position:
            return LogSlice((), after, caught_up=True)
        events: list[RecordedEvent] = []
        at = after.position
        while len(events) < limit and at < head.position:
            self._check_open()
            some = self._reader.log(at, min(STEP, limit - len(events)), head.position)
            if not some:
                raise StoreDamaged(f"the log has nothing between {at} and its end at {head.position}")
            events += some
            at = some[-1].position
            await asyncio.sleep(0)
        through = events[-1].place
        return LogSlice(events, through, caught_up=through.position >= self._head.position)

    async def head(self) -> LogPosition:
        self._check_open()
        return self._head

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        # What is appended meanwhile may be of that time, so it is not passed.
        head = self._head
        at = after.position
        while at < head.position:
            self._check_open()
            end = min(at + SCAN_STEP, head.position)
            first = self._reader.first_since(time, at, end)
            if first is not None:
                return self._reader.place_before(first)
            at = end
            await asyncio.sleep(0)
        return max(head, after)

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        if revision <= NO_STREAM:
            return None
        events = await self.read_stream(stream, revision - 1, 1)
        return events[0].place if events else None

    @property
    def confirmed_seconds_ago(self) -> float:
        return 0.0

    async def hides_events(self, stream: str) -> bool:
        return False

    def types(self) -> Sequence[str]:
        return self._reader.types()

    def events_of_type(self, type_name: str) -> Sequence[tuple[str, int]]:
        return self._reader.events_of_type(type_name)

    async def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            while True:
                page = await self.read_log(after)
                after = page.through
                yield page
                while page.caught_up:
                    events = await subscriber.next(after.position)
                    if events is None:
                        break
                    after = events[-1].place
                    yield LogSlice(events, after, caught_up=after.position >= self._head.position)
        finally:
            self._subscribers.discard(subscriber)

    async def copied(self) -> None:
        """The copy into this store is whole."""
        try:
            self._writer.drop_meta(UNFINISHED)
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        await self._wal.sync()

    @property
    def numbers_adopted(self) -> bool:
        return bool(self._writer.meta(NUMBERS))

    async def hyphenated_number_streams(self) -> Sequence[str]:
        self._check_open()
        return self._reader.streams(f"{NUMBER}-*-*")

    async def note_numbers_adopted(self) -> None:
        try:
            self._writer.set_meta(NUMBERS, "without hyphens")
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        await self._wal.sync()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in (self._committing, self._checkpointing):
            if task is not None:
                await task
        for subscriber in self._subscribers:
            subscriber.close()
        if not self._failed:
            self._snapshots.write()
            note_stop(self._directory, self.store_id, self._head, self._reader)
        await self._wal.close()
        self._close_files()

    def _close_files(self) -> None:
        self._connection.close()
        self._files.close()

    def _check_open(self) -> None:
        if self._closed or self._failed:
            raise StoreUnavailable("the event store is closed")

    async def _commit_pending(self) -> None:
        try:
            while self._pending:
                await self._gather()
                await self._commit(self._take())
                await self._checkpoint()
        finally:
            self._committing = None

    async def _commit(self, batch: Sequence[Append]) -> None:
        if self._failed:
            _settle(batch, [StoreUnavailable("the event store has failed") for _ in batch])
            return
        outcomes = await self._write(batch)
        # Also what is refused was decided on what is in the file, and that is durable: commits are one at a time, and
        # each is synced before the next.
        if any(isinstance(outcome, WrittenAppend) and outcome.events for outcome in outcomes):
            try:
                await self._wal.sync()
            except OSError as error:
                self._failed = True
                outcomes = [OutcomeUnknown(str(error)) for _ in batch]
        self.writable = not any(isinstance(outcome, StoreUnavailable | OutcomeUnknown) for outcome in outcomes)
        events = [event for outcome in outcomes if isinstance(outcome, WrittenAppend) for event in outcome.events]
        if events:
            self._head = events[-1].place
        _settle(batch, outcomes)
        for subscriber in self._subscribers if events else ():
            subscriber.push(events)

    async def _write(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Commits, unsynced. While another process has the write lock, others on the loop go on."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_SECONDS_MAX
        while True:
            try:
                return self._writer.commit(batch)
            except Locked as error:
                if loop.time() > deadline:
                    return [StoreUnavailable(str(error)) for _ in batch]
            await asyncio.sleep(LOCK_RETRY_SECONDS)

    async def _gather(self) -> None:
        """Waits a little for as many appends as the last commit had.

        Callers that were answered together ask again together, one after another on this loop. To commit for the first
        of them would cost each a sync of its own. A lone caller never waits.
        """
        if len(self._pending) < self._company:
            await self._gathering.wait(GATHER_SECONDS_MAX)

    def _take(self) -> list[Append]:
        batch = [self._pending.popleft()]
        events = len(batch[0].events)
        while self._pending and events + len(self._pending[0].events) <= BATCH_EVENTS_MAX:
            batch.append(self._pending.popleft())
            events += len(batch[-1].events)
        self._company = min(len(batch), GATHER_APPENDS_MAX)
        return batch

    async def _checkpoint(self) -> None:
        """Beside the commits; only when the WAL is to begin anew do they wait, for what little is left to write."""
        if self._checkpointing is not None:
            if not self._checkpointing.done():
                return
            due, self._checkpointing = self._checkpointing.result(), None
            if due:
                await self._wal.checkpoint()
        elif self._head.position - self._checkpointed >= CHECKPOINT_EVENTS:
            self._checkpointed = self._head.position
            self._checkpointing = asyncio.create_task(self._wal.checkpoint())


class _Subscriber:
    """Committed events on their way to one subscription: bounded, and forgotten when it can't keep up."""

    def __init__(self) -> None:
        self._events: deque[RecordedEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def push(self, events: Sequence[RecordedEvent]) -> None:
        if len(self._events) + len(events) > BUFFER_EVENTS_MAX:
            self._events.clear()
        self._events.extend(events)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def next(self, after: int) -> Sequence[RecordedEvent] | None:
        """What was committed right after the position `after`; None when some of it must be read from the file."""
        while True:
            while self._events and self._events[0].position <= after:
                self._events.popleft()
            if self._events:
                events = list(self._events)
                self._events.clear()
                return events if events[0].position == after + 1 else None
            if self._closed:
                raise StoreUnavailable("the event store is closed")
            self._wake.clear()
            await self._wake.wait()


def _settle(batch: Sequence[Append], outcomes: Sequence[Outcome]) -> None:
    for append, outcome in zip(batch, outcomes, strict=True):
        if append.done.cancelled():
            continue
        if isinstance(outcome, Exception):
            append.done.set_exception(outcome)
        else:
            append.done.set_result(outcome.position)

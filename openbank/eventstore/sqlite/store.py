"""The port's methods on one SQLite file, used on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

from openbank.eventstore.errors import AppendTooLarge, StoreDamaged, StoreUnavailable
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
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.sqlite import quarantine
from openbank.eventstore.sqlite.check import check_start
from openbank.eventstore.sqlite.commits import Commits
from openbank.eventstore.sqlite.location import find_log
from openbank.eventstore.sqlite.mark import note_stop
from openbank.eventstore.sqlite.reader import FileReader
from openbank.eventstore.sqlite.restore import finish_restore
from openbank.eventstore.sqlite.schema import NUMBERS, TOKEN_KEY, UNFINISHED, create_log, lock, open_log
from openbank.eventstore.sqlite.snapshots import Snapshots
from openbank.eventstore.sqlite.subscriber import Subscriber
from openbank.eventstore.sqlite.wal import Wal, end_process
from openbank.eventstore.sqlite.writer import Append, Writer
from openbank.eventstore.statistics import CommitStatistics
from openbank.eventstore.streams import NUMBER
from openbank.sqlite_wal import WalFiles

PAGE = 1_000
STEP = 250
"""Events read without a pause, in which other tasks on the loop wait."""
SCAN_STEP = 5_000
"""Events scanned without a pause. Takes as long as reading STEP events."""


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
        """Opens the store, or creates it.

        If `bank_id` is given, the store must belong to that bank. A store created with `copying` can be opened only
        with it until `copied` is called, so that half a log is never served. `sync_failed` is called when a sync fails,
        and must end the process. Raises StoreRefused for a file of another version or another bank, or one that has
        lost events.
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
        self.token_key = TokenKey.from_hex(self._writer.meta(TOKEN_KEY))
        self._wal = Wal(self._files, sync_failed)
        self._commits = Commits(self._writer, self._wal, self._committed)
        self._subscribers: set[Subscriber] = set()
        self._closed = False

    @property
    def commits(self) -> CommitStatistics:
        return self._commits.statistics

    def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if sum([len(event.data) for event in events]) > APPEND_BYTES_MAX:
            done.set_exception(AppendTooLarge(stream))
            return done
        if self._closed or self._commits.failed:
            done.set_exception(StoreUnavailable("the event store is closed"))
            return done
        self._commits.add(Append(stream, expected_revision, events, done))
        return done

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = PAGE) -> Sequence[RecordedEvent]:
        events: list[RecordedEvent] = []
        while True:
            self._check_open()
            step = min(STEP, limit - len(events))
            some = self._reader.stream(stream, after, step, self._commits.head.position)
            events += some
            if len(some) < step or len(events) >= limit:
                return events
            after = some[-1].revision
            await asyncio.sleep(0)

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        self._check_open()
        return self._reader.end(stream, limit, self._commits.head.position)

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        if through is None:
            events = await self.read_end(stream, limit)
        else:
            events = await self.read_stream(stream, max(NO_STREAM, through - limit), min(through, limit))
        return Newest(events, await self.snapshot(stream, through))

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        self._check_open()
        return self._snapshots.newest(stream, through)

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if not (self._closed or self._commits.failed):
            self._snapshots.keep(stream, snapshot)

    async def quarantine(self) -> KeptRecord:
        self._check_open()
        return quarantine.load(self._connection)

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        self._check_open()
        saved = quarantine.save(self._connection, data, version)
        if saved is not None:
            await self._commits.sync()
        return saved

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        self._check_open()
        return self._reader.requests(stream, request_ids, self._commits.head.position)

    async def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> Collection[str]:
        self._check_open()
        return self._reader.streams_with(requests)

    async def read_log(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        head = self._commits.head
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
        return LogSlice(events, through, caught_up=through.position >= self._commits.head.position)

    async def head(self) -> LogPosition:
        self._check_open()
        return self._commits.head

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        # Events appended meanwhile may be from that time, so they are not skipped.
        head = self._commits.head
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
    def writable(self) -> bool:
        return self._commits.writable

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
        subscriber = Subscriber()
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
                    yield LogSlice(events, after, caught_up=after.position >= self._commits.head.position)
        finally:
            self._subscribers.discard(subscriber)

    async def adopt_token_key(self, key: TokenKey) -> None:
        """See `CopyTarget`."""
        if self._writer.meta(UNFINISHED) or not self.token_key.secret:
            self._writer.set_meta(TOKEN_KEY, key.secret.hex())
            self.token_key = key
            await self._wal.sync()

    async def copied(self) -> None:
        """Call when the copy into this store is complete."""
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
        await self._commits.close()
        for subscriber in self._subscribers:
            subscriber.close()
        if not self._commits.failed:
            self._snapshots.write()
            note_stop(self._directory, self.store_id, self._commits.head, self._reader)
        await self._wal.close()
        self._close_files()

    def _committed(self, events: Sequence[RecordedEvent]) -> None:
        for subscriber in self._subscribers:
            subscriber.push(events)

    def _close_files(self) -> None:
        self._connection.close()
        self._files.close()

    def _check_open(self) -> None:
        if self._closed or self._commits.failed:
            raise StoreUnavailable("the event store is closed")

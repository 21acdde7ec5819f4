"""The embedded event store: one SQLite file in WAL mode, `synchronous=FULL`, one writer.

Appends that arrive while a commit is under way share the next one, so that one fsync serves them all. SQLite makes a
commit visible to readers only after its WAL is synced; whatever is read here is durable.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import struct
import zlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from openbank.eventstore.port import (
    APPEND_BYTES_MAX,
    BEGINNING,
    NO_STREAM,
    AppendTooLarge,
    LogPosition,
    LogSlice,
    Metadata,
    NewEvent,
    OutcomeUnknown,
    RecordedEvent,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
    WrongExpectedRevision,
)

FILE = "events.db"
APPLICATION_ID = 0x4F426576
"""In the file's header, so that another program's database is never taken for ours: "OBev"."""
FORMAT = 1
UNFINISHED = "unfinished"
"""In the table `meta` while a copy into the store is under way."""
BATCH_EVENTS_MAX = 2_000
"""Events in one commit. One INSERT holds them all, and SQLite allows 32,766 variables in it."""
GATHER_APPENDS_MAX = 64
GATHER_SECONDS_MAX = 0.01
"""How long a commit waits for as many appends as the one before it had, and how many it waits for at the most."""
HEADS_MAX = 50_000
"""Streams whose head is remembered, so that an append need not look it up."""
BUFFER_EVENTS_MAX = 10_000
"""Committed events that wait for one subscriber; past it the subscriber reads them from the file instead."""
PAGE = 1_000

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
CREATE UNIQUE INDEX events_stream ON events (stream, revision);
CREATE INDEX events_request ON events (stream, request_id) WHERE request_id IS NOT NULL;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""
_SELECT = """
SELECT position, streams.name, revision, id, type, data, record_time, request_id, request_hash,
       correlation_id, causation_id, owner_id, place, checksum
FROM events JOIN streams ON streams.key = events.stream
"""
_ROW = f"({', '.join('?' * 14)})"
_CHECKED = struct.Struct(">qqqq")

Result = TypeVar("Result")


class _Append(NamedTuple):
    stream: str
    expected: int
    events: Sequence[NewEvent]
    done: asyncio.Future[int]


class _Head(NamedTuple):
    """A stream's key in the file, and the revision it has reached."""

    key: int
    revision: int


class SqliteEventStore:
    """`EventStore` in `DIRECTORY/events.db`. One process at a time: the caller holds the directory's lock."""

    sole_writer = True

    def __init__(self, directory: Path, *, bank_id: str | None = None, copying: bool = False) -> None:
        """Opens the store, or makes it, of the bank `bank_id` where that matters.

        One that is made by `copying` can be opened only so until it is `copied`: nobody is to be served from half a
        log. Raises StoreRefused for a file that is not this version's, or is of another bank.
        """
        path = directory / FILE
        self._writer = _Writer(path, bank_id, copying)
        self.bank_id = self._writer.meta("bank_id")
        self.store_id = self._writer.meta("store_id")
        self._head = self._writer.last()
        self._reader = _Reader(path)
        self._writing = ThreadPoolExecutor(1, "events-writer")
        self._reading = ThreadPoolExecutor(1, "events-reader")
        self._pending: deque[_Append] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._gathered: asyncio.Future[None] | None = None
        self._company = 1
        """How many appends the last commit had."""
        self._subscribers: set[_Subscriber] = set()
        self._closed = False

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        if sum(len(event.data) for event in events) > APPEND_BYTES_MAX:
            raise AppendTooLarge(stream)
        if self._closed:
            raise StoreUnavailable("the event store is closed")
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending.append(_Append(stream, expected_revision, events, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_pending())
        elif self._gathered is not None and len(self._pending) >= self._company:
            _resolve(self._gathered)
        return await done

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = PAGE) -> Sequence[RecordedEvent]:
        return await self._read(self._reader.stream, stream, after, limit)

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Sequence[RecordedEvent]:
        return await self._read(self._reader.requests, stream, request_ids)

    async def read_log(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        head = self._head
        if after.position >= head.position:
            return LogSlice((), after, caught_up=True)
        events = await self._read(self._reader.log, after.position, limit)
        if not events:
            raise StoreDamaged(f"the log has nothing between {after.position} and its end at {head.position}")
        through = _place(events[-1])
        return LogSlice(events, through, caught_up=through.position >= self._head.position)

    async def head(self) -> LogPosition:
        return self._head

    async def position_at(self, time: int) -> LogPosition:
        first = await self._read(self._reader.first_since, time)
        if first is None:
            return self._head
        return await self._read(self._reader.place_before, first)

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        if revision <= NO_STREAM:
            return None
        events = await self.read_stream(stream, revision - 1, 1)
        return _place(events[0]) if events else None

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
                    after = _place(events[-1])
                    yield LogSlice(events, after, caught_up=after.position >= self._head.position)
        finally:
            self._subscribers.discard(subscriber)

    async def copied(self) -> None:
        """The copy into this store is whole."""
        await asyncio.get_running_loop().run_in_executor(self._writing, self._writer.drop_meta, UNFINISHED)

    async def close(self) -> None:
        self._closed = True
        if self._committing is not None:
            await self._committing
        for subscriber in self._subscribers:
            subscriber.close()
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.close()
        self._writer.close()

    async def _read(self, read: Callable[..., Result], *arguments: object) -> Result:
        if self._closed:
            raise StoreUnavailable("the event store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, read, *arguments)
        except sqlite3.Error as error:
            raise _reading_failed(error) from error

    async def _commit_pending(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                await self._gather()
                batch = self._take()
                outcomes = await loop.run_in_executor(self._writing, self._writer.commit, batch)
                self._publish(outcomes)
                for append, outcome in zip(batch, outcomes, strict=True):
                    if append.done.cancelled():
                        continue
                    if isinstance(outcome, Exception):
                        append.done.set_exception(outcome)
                    else:
                        append.done.set_result(outcome.position)
        finally:
            self._committing = None

    async def _gather(self) -> None:
        """Waits a little for as many appends as the last commit had.

        Callers that were answered together ask again together, one after another on this loop. To commit for the first
        of them would cost each its own hand-over to the writer's thread. A lone caller never waits.
        """
        if len(self._pending) >= self._company:
            return
        loop = asyncio.get_running_loop()
        self._gathered = loop.create_future()
        alarm = loop.call_later(GATHER_SECONDS_MAX, _resolve, self._gathered)
        await self._gathered
        alarm.cancel()
        self._gathered = None

    def _take(self) -> list[_Append]:
        batch = [self._pending.popleft()]
        events = len(batch[0].events)
        while self._pending and events + len(self._pending[0].events) <= BATCH_EVENTS_MAX:
            batch.append(self._pending.popleft())
            events += len(batch[-1].events)
        self._company = min(len(batch), GATHER_APPENDS_MAX)
        return batch

    def _publish(self, outcomes: Iterable[_Outcome]) -> None:
        events = [event for outcome in outcomes if isinstance(outcome, _Written) for event in outcome.events]
        if not events:
            return
        self._head = _place(events[-1])
        for subscriber in self._subscribers:
            subscriber.push(events)


class _Written(NamedTuple):
    """An append that is in the log, and its events, unless it had been there before."""

    position: int
    events: Sequence[RecordedEvent]


_Outcome = _Written | Exception


class _Writer:
    """The one connection that writes. Used by one thread at a time."""

    def __init__(self, path: Path, bank_id: str | None, copying: bool) -> None:
        self._connection = _open(path, bank_id, copying)
        self._types = {name: key for key, name in self._connection.execute("SELECT key, name FROM types")}
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._position = self.last().position
        self._streams: int = self._connection.execute("SELECT coalesce(max(key), 0) FROM streams").fetchone()[0]

    def meta(self, name: str) -> str:
        return str(self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])

    def drop_meta(self, name: str) -> None:
        self._connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def last(self) -> LogPosition:
        row = self._connection.execute(
            "SELECT position, streams.name, revision FROM events JOIN streams ON streams.key = events.stream"
            " ORDER BY position DESC LIMIT 1"
        ).fetchone()
        return LogPosition(*row) if row else BEGINNING

    def close(self) -> None:
        self._connection.close()

    def commit(self, batch: Sequence[_Append]) -> Sequence[_Outcome]:
        """Appends what can be appended of `batch`, in one transaction; each gets its own outcome, in order.

        What the writer remembers of the file changes only once the transaction is durable.
        """
        commit = _Commit(self._position, self._streams)
        failed: type[Exception] = StoreUnavailable
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._find_heads({append.stream for append in batch}, commit)
            outcomes = [self._outcome(append, commit) for append in batch]
            self._insert(commit)
            # A commit that fails while writing or syncing may be found complete by a recovery after a crash.
            failed = OutcomeUnknown
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            full = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
            kind = StoreUnavailable if full else failed
            return [kind(str(error)) for _ in batch]
        except Exception as error:
            # A bug, and to be told as one.
            self._roll_back()
            return [error for _ in batch]
        self._position, self._streams = commit.position, commit.streams
        self._types.update(commit.types)
        self._remember(commit.heads)
        return outcomes

    def _outcome(self, append: _Append, commit: _Commit) -> _Outcome:
        try:
            return self._append(append, commit)
        except (TypeError, ValueError, struct.error) as error:
            # Events that no column can hold fail alone: nothing of theirs is in `commit` yet.
            return error

    def _append(self, append: _Append, commit: _Commit) -> _Outcome:
        head = commit.heads.get(append.stream)
        revision = head.revision if head else NO_STREAM
        if append.expected != revision:
            return self._repeated(append, revision, commit)
        key = head.key if head else commit.streams + 1
        recorded = [
            RecordedEvent(commit.position + number, append.stream, revision + number, *event)
            for number, event in enumerate(append.events, 1)
        ]
        rows = [_to_row(event, key, self._type_key(event.type, commit)) for event in recorded]
        commit.add(append.stream, key, recorded, rows)
        return _Written(commit.position, recorded)

    def _repeated(self, append: _Append, actual: int, commit: _Commit) -> _Outcome:
        """The same events at the same place are the same append; anything else is another writer's."""
        wrong = WrongExpectedRevision(f"{append.stream} is at {actual}, not at {append.expected}")
        if append.expected > actual:
            return wrong
        rows = self._connection.execute(
            "SELECT position, id FROM events JOIN streams ON streams.key = events.stream"
            " WHERE streams.name = ? AND revision > ? ORDER BY revision LIMIT ?",
            (append.stream, append.expected, len(append.events)),
        ).fetchall()
        # Or in this very commit, whose rows are not in the file yet.
        rows += [
            (event.position, event.id)
            for event in commit.recorded
            if event.stream == append.stream and event.revision > append.expected
        ][: len(append.events) - len(rows)]
        if [row[1] for row in rows] != [event.id for event in append.events]:
            return wrong
        return _Written(rows[-1][0], ())

    def _find_heads(self, streams: set[str], commit: _Commit) -> None:
        unknown = [stream for stream in streams if stream not in self._heads]
        for stream in streams.difference(unknown):
            commit.heads[stream] = self._heads[stream]
        for start in range(0, len(unknown), PAGE):
            some = unknown[start : start + PAGE]
            rows = self._connection.execute(
                "SELECT name, key, (SELECT max(revision) FROM events WHERE stream = streams.key) FROM streams"
                f" WHERE name IN ({', '.join('?' * len(some))})",
                some,
            )
            commit.heads.update((name, _Head(key, revision)) for name, key, revision in rows)

    def _type_key(self, name: str, commit: _Commit) -> int:
        key = self._types.get(name) or commit.types.get(name)
        if key is None:
            key = commit.types[name] = len(self._types) + len(commit.types) + 1
        return key

    def _insert(self, commit: _Commit) -> None:
        """One statement for all rows: each costs a hand-over of the GIL, which a busy event loop makes dear."""
        for table, rows in (("streams", commit.new_streams), ("types", list(commit.types.items()))):
            if rows:
                values = [value for name, key in rows for value in (key, name)]
                self._connection.execute(f"INSERT INTO {table} VALUES {', '.join(['(?, ?)'] * len(rows))}", values)
        for start in range(0, len(commit.rows), BATCH_EVENTS_MAX):
            some = commit.rows[start : start + BATCH_EVENTS_MAX]
            values = list(chain.from_iterable(some))
            self._connection.execute(f"INSERT INTO events VALUES {', '.join([_ROW] * len(some))}", values)

    def _remember(self, heads: dict[str, _Head]) -> None:
        for stream, head in heads.items():
            self._heads[stream] = head
            self._heads.move_to_end(stream)
        while len(self._heads) > HEADS_MAX:
            self._heads.popitem(last=False)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            # Should it fail too, the next BEGIN will, and roll back again.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


class _Commit:
    """What one transaction is going to change."""

    def __init__(self, position: int, streams: int) -> None:
        self.position = position
        self.streams = streams
        self.recorded: list[RecordedEvent] = []
        self.rows: list[tuple[Any, ...]] = []
        self.heads: dict[str, _Head] = {}
        self.new_streams: list[tuple[str, int]] = []
        self.types: dict[str, int] = {}

    def add(self, stream: str, key: int, recorded: Sequence[RecordedEvent], rows: Sequence[tuple[Any, ...]]) -> None:
        """The events of one append; the key beyond the last one makes a new stream."""
        if key > self.streams:
            self.streams = key
            self.new_streams.append((stream, key))
        self.recorded += recorded
        self.rows += rows
        self.position += len(recorded)
        self.heads[stream] = _Head(key, recorded[-1].revision)


class _Reader:
    """A connection that only reads. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        self._types: dict[int, str] = {}

    def close(self) -> None:
        self._connection.close()

    def stream(self, stream: str, after: int, limit: int) -> list[RecordedEvent]:
        events = self._select("WHERE streams.name = ? AND revision > ? ORDER BY revision LIMIT ?", stream, after, limit)
        for revision, event in enumerate(events, after + 1):
            if event.revision != revision:
                raise StoreDamaged(f"{stream} has no event with revision {revision}")
        return events

    def requests(self, stream: str, request_ids: Sequence[bytes]) -> list[RecordedEvent]:
        marks = ", ".join("?" * len(request_ids))
        # Without the plus, SQLite walks the whole stream by the index that has it in order, and looks at each event.
        where = f"WHERE streams.name = ? AND request_id IN ({marks}) ORDER BY +revision"
        return self._select(where, stream, *request_ids)

    def log(self, after: int, limit: int) -> list[RecordedEvent]:
        events = self._select("WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        if events:
            last = events[-1]
            rest = last.metadata.parts - last.metadata.part - 1
            if rest:
                events += self._select("WHERE position > ? ORDER BY position LIMIT ?", last.position, rest)
        for position, event in enumerate(events, after + 1):
            if event.position != position:
                raise StoreDamaged(f"the log has no event at position {position}")
        return events

    def first_since(self, time: int) -> int | None:
        row = self._connection.execute(
            "SELECT position FROM events WHERE record_time >= ? ORDER BY position LIMIT 1", (time,)
        ).fetchone()
        return row[0] if row else None

    def place_before(self, position: int) -> LogPosition:
        events = self._select("WHERE position < ? ORDER BY position DESC LIMIT 1", position)
        return _place(events[0]) if events else BEGINNING

    def _select(self, where: str, *values: object) -> list[RecordedEvent]:
        rows = self._connection.execute(_SELECT + where, values).fetchall()
        try:
            return [self._recorded(row) for row in rows]
        except (AttributeError, TypeError, ValueError, struct.error) as error:
            raise StoreDamaged(f"a column of an event has another type than it was written with: {error}") from error

    def _recorded(self, row: tuple[Any, ...]) -> RecordedEvent:
        (
            position,
            stream,
            revision,
            event_id,
            type_key,
            data,
            time,
            request,
            digest,
            *rest,
            place,
            checksum,
        ) = row
        correlation, causation, owner = rest
        part, parts = (0, 1) if place is None else divmod(place, 1 << 16)
        metadata = Metadata(
            time, request or b"", digest or b"", correlation or "", causation or "", owner or "", part, parts
        )
        event = RecordedEvent(position, stream, revision, event_id, self._type(type_key), data, metadata)
        if _checksum(event) != checksum:
            raise StoreDamaged(f"the event at position {position} is not what was written")
        return event

    def _type(self, key: int) -> str:
        if key not in self._types:
            self._types = dict(self._connection.execute("SELECT key, name FROM types"))
        # The checksum is over the name: without one it cannot hold.
        return self._types.get(key, "")


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


def backup(directory: Path, file: Path) -> None:
    """Copies the log to `file`, a consistent state of it, also while a server writes. Put it back as events.db.

    Raises FileNotFoundError without a log, FileExistsError for a file that is there.
    """
    source_path = directory / FILE
    if not source_path.exists():
        raise FileNotFoundError(f"{source_path} is not there")
    if file.exists():
        raise FileExistsError(f"{file} exists")
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    source = sqlite3.connect(f"{source_path.resolve().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(unfinished)
    try:
        source.backup(copy)
        # One file that needs no -wal beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
        source.close()
    _sync(unfinished)
    unfinished.rename(file)
    _sync(file.parent)


def _open(path: Path, bank_id: str | None, copying: bool) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    except sqlite3.Error as error:
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    try:
        _check_format(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # A process that was killed in a commit may have left it whole in the WAL, but not synced. It counts as done
        # from here on, so it must be durable before anything rests on it: a checkpoint syncs it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection, bank_id or secrets.token_hex(16), copying)
        _check_identity(connection, path, bank_id, copying)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreRefused(f"{path} can't be opened: {error}") from error
    except StoreRefused:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
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


def _reading_failed(error: sqlite3.Error) -> Exception:
    """Damage may meet SQLite before it meets a checksum: a page that makes no sense, or text that is no UTF-8."""
    code = getattr(error, "sqlite_errorcode", None)
    no_text = code is None and isinstance(error, sqlite3.OperationalError)
    if no_text or (code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)):
        return StoreDamaged(str(error))
    return StoreUnavailable(str(error))


def _to_row(event: RecordedEvent, stream: int, type_key: int) -> tuple[Any, ...]:
    """Empty columns are NULL, which takes no space; part and parts share one, NULL where there is one event."""
    meta = event.metadata
    return (
        event.position,
        stream,
        event.revision,
        event.id,
        type_key,
        event.data,
        meta.record_time,
        meta.request_id or None,
        meta.request_hash or None,
        meta.correlation_id or None,
        meta.causation_id or None,
        meta.owner_id or None,
        None if meta.parts == 1 else meta.part << 16 | meta.parts,
        _checksum(event),
    )


def _checksum(event: RecordedEvent) -> int:
    """CRC-32 of everything the event says, by names rather than keys: it holds in any copy of the row."""
    meta = event.metadata
    place = meta.part << 16 | meta.parts
    checked = _CHECKED.pack(event.position, event.revision, meta.record_time, place)
    texts = "\0".join((event.stream, event.type, meta.correlation_id, meta.causation_id, meta.owner_id))
    return zlib.crc32(b"\0".join((checked, event.id, event.data, meta.request_id, meta.request_hash, texts.encode())))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _place(event: RecordedEvent) -> LogPosition:
    return LogPosition(event.position, event.stream, event.revision)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Appends, many in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable, WrongExpectedRevision
from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition, NewEvent, RecordedEvent
from openbank.eventstore.sqlite.rows import VALUES, Row, to_row
from openbank.sqlite_wal import is_locked

STATEMENT_ROWS_MAX = 64
"""The most rows in one INSERT. There is a prepared statement for each number of rows."""
HEADS_MAX = 20_000
"""The most streams whose head is remembered, so that an append need not look it up."""
NAMES_MAX = 1_000
"""Streams looked up in one statement."""


class Append(NamedTuple):
    stream: str
    expected: int
    events: Sequence[NewEvent]
    done: asyncio.Future[int]


class WrittenAppend(NamedTuple):
    """An append that is in the log, with its events, unless it was there before."""

    position: int
    events: Sequence[RecordedEvent]


Outcome = WrittenAppend | Exception


class _Head(NamedTuple):
    """A stream's key in the file, and the revision it has reached."""

    key: int
    revision: int


class Locked(Exception):
    """Another process has the write lock; nothing was done."""


class Writer:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._types = {name: key for key, name in connection.execute("SELECT key, name FROM types").fetchall()}
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._position = self.last().position
        self._streams: int = connection.execute("SELECT coalesce(max(key), 0) FROM streams").fetchall()[0][0]

    def meta(self, name: str) -> str:
        """The value of this name; empty without one."""
        rows = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchall()
        return str(rows[0][0]) if rows else ""

    def set_meta(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def drop_meta(self, name: str) -> None:
        self._connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def last(self) -> LogPosition:
        rows = self._connection.execute(
            "SELECT position, streams.name, revision FROM events JOIN streams ON streams.key = events.stream"
            " ORDER BY position DESC LIMIT 1"
        ).fetchall()
        return LogPosition(*rows[0]) if rows else BEGINNING

    def commit(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Appends what can be appended of `batch`, in one transaction, and returns the outcome of each, in order.

        The writer's memory of the file changes only once the transaction is committed. It is not durable yet. Raises
        Locked.
        """
        commit = _Commit(self._position, self._streams)
        failed: type[Exception] = StoreUnavailable
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._find_heads({append.stream for append in batch}, commit)
            outcomes = [self._outcome(append, commit) for append in batch]
            self._insert(commit)
            # Recovery after a crash may find a commit complete that failed while writing.
            failed = OutcomeUnknown
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if is_locked(error):
                raise Locked(str(error)) from error
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            kind = StoreUnavailable if full else failed
            return [kind(str(error)) for _ in batch]
        except Exception as error:
            # A bug, which must not be hidden as a failure of the store.
            self._roll_back()
            return [error for _ in batch]
        self._position, self._streams = commit.position, commit.streams
        self._types.update(commit.types)
        self._remember(commit.heads)
        return outcomes

    def _outcome(self, append: Append, commit: _Commit) -> Outcome:
        try:
            return self._append(append, commit)
        except (TypeError, ValueError, struct.error) as error:
            # An append that no column can hold fails alone: nothing of it is in `commit` yet.
            return error

    def _append(self, append: Append, commit: _Commit) -> Outcome:
        head = commit.heads.get(append.stream)
        revision = head.revision if head else NO_STREAM
        if append.expected != revision:
            return self._repeated(append, revision, commit)
        key = head.key if head else commit.streams + 1
        recorded: list[RecordedEvent] = []
        rows: list[Row] = []
        for number, new in enumerate(append.events, 1):
            event = RecordedEvent(commit.position + number, append.stream, revision + number, *new)
            recorded.append(event)
            rows.append(to_row(event, key, self._type_key(event.type, commit)))
        commit.add(append.stream, key, recorded, rows)
        return WrittenAppend(commit.position, recorded)

    def _repeated(self, append: Append, actual: int, commit: _Commit) -> Outcome:
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
        return WrittenAppend(rows[-1][0], ())

    def _find_heads(self, streams: set[str], commit: _Commit) -> None:
        unknown = []
        for stream in streams:
            head = self._heads.get(stream)
            if head is None:
                unknown.append(stream)
            else:
                commit.heads[stream] = head
        for start in range(0, len(unknown), NAMES_MAX):
            some = unknown[start : start + NAMES_MAX]
            rows = self._connection.execute(
                "SELECT name, key, (SELECT max(revision) FROM events WHERE stream = streams.key) FROM streams"
                f" WHERE name IN ({', '.join('?' * len(some))})",
                some,
            ).fetchall()
            commit.heads.update((name, _Head(key, revision)) for name, key, revision in rows)

    def _type_key(self, name: str, commit: _Commit) -> int:
        key = self._types.get(name) or commit.types.get(name)
        if key is None:
            key = commit.types[name] = len(self._types) + len(commit.types) + 1
        return key

    def _insert(self, commit: _Commit) -> None:
        self._insert_rows("streams", "(?, ?)", commit.new_streams)
        self._insert_rows("types", "(?, ?)", [(key, name) for name, key in commit.types.items()])
        self._insert_rows("events", VALUES, commit.rows)

    def _insert_rows(self, table: str, values: str, rows: Sequence[Row]) -> None:
        """Looks up many in one statement: a statement costs as much as several rows."""
        for start in range(0, len(rows), STATEMENT_ROWS_MAX):
            some = rows[start : start + STATEMENT_ROWS_MAX]
            statement = f"INSERT INTO {table} VALUES {', '.join([values] * len(some))}"
            self._connection.execute(statement, list(chain.from_iterable(some)))

    def _remember(self, heads: dict[str, _Head]) -> None:
        for stream, head in heads.items():
            self._heads[stream] = head
            self._heads.move_to_end(stream)
        while len(self._heads) > HEADS_MAX:
            self._heads.popitem(last=False)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            # If this fails too, so does the next BEGIN, which rolls back again.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


class _Commit:
    """The changes that one transaction will make."""

    def __init__(self, position: int, streams: int) -> None:
        self.position = position
        self.streams = streams
        self.recorded: list[RecordedEvent] = []
        self.rows: list[Row] = []
        self.heads: dict[str, _Head] = {}
        self.new_streams: list[Row] = []
        self.types: dict[str, int] = {}

    def add(self, stream: str, key: int, recorded: Sequence[RecordedEvent], rows: Sequence[Row]) -> None:
        """Adds the events of one append. A key beyond the last one makes a new stream."""
        if key > self.streams:
            self.streams = key
            self.new_streams.append((key, stream))
        self.recorded += recorded
        self.rows += rows
        self.position += len(recorded)
        self.heads[stream] = _Head(key, recorded[-1].revision)

"""The log as another process reads it, also while a bank is served from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from openbank.eventstore.errors import StoreDamaged, StoreRefused
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.quarantine_record import QuarantineRecord, decode_record
from openbank.eventstore.sqlite import quarantine
from openbank.eventstore.sqlite.epoch import check_wal
from openbank.eventstore.sqlite.location import find_log
from openbank.eventstore.sqlite.mark import read_mark
from openbank.eventstore.sqlite.rows import from_row
from openbank.eventstore.sqlite.schema import FILE, check_format, check_size
from openbank.sqlite_file import has_wal, read_only

_SELECT = """
SELECT events.*, streams.name, types.name FROM events
LEFT JOIN streams ON streams.key = events.stream LEFT JOIN types ON types.key = events.type
"""
_EVENTS = f"{_SELECT} WHERE position > ? ORDER BY position LIMIT ?"
_EVENT = f"{_SELECT} WHERE events.stream = (SELECT key FROM streams WHERE name = ?) AND revision = ?"
SLICE = 2_000
"""Events read in one transaction: a longer one would keep the WAL from restarting."""
# The integrity check compares the number of index entries with the rows. This compares their content.
_TORN_REQUESTS = """
SELECT streams.name, hex(request_id), count(*) FROM events JOIN streams ON streams.key = events.stream
WHERE request_id IS NOT NULL GROUP BY stream, request_id, request_hash IS NULL
HAVING count(*) != max(coalesce(place & 65535, 1)) OR max(revision) - min(revision) + 1 != count(*)
    OR count(DISTINCT request_hash) > 1
"""


class LogFile:
    """Writes nothing. Raises FileNotFoundError without a log, Unreadable, StoreRefused for a log of another version or
    beside another log's WAL.
    """

    def __init__(self, directory: Path) -> None:
        # Read before the events: a stop meanwhile leaves a mark beyond the events that are read.
        self._mark = read_mark(directory)
        found = find_log(directory)
        if found is None:
            raise FileNotFoundError(f"{directory / FILE} is not there")
        self._path = found
        check_wal(self._path)
        try:
            self._connection = read_only(self._path)
        except sqlite3.Error as error:
            raise StoreRefused(f"{self._path} can't be read: {error}") from error
        try:
            check_format(self._connection, self._path)
            meta = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreRefused(f"{self._path} can't be read: {error}") from error
        except BaseException:
            self._connection.close()
            raise
        self.bank_id, self.store_id = str(meta["bank_id"]), str(meta["store_id"])

    def events(self, after: int) -> Iterator[RecordedEvent | str]:
        """The events after the position `after`, up to the end as of the last read."""
        return read_events(self._connection, after)

    def last(self) -> int:
        """The position of the last event; 0 if it cannot be read, for which `events` has the reason."""
        try:
            (position,) = self._connection.execute("SELECT max(position) FROM events").fetchone()
        except sqlite3.Error:
            return 0
        return int(position or 0)

    def event(self, stream: str, revision: int) -> RecordedEvent | None:
        """None for one that is not there or cannot be read: `events` and `faults` say why."""
        try:
            for *row, _, type_name in self._connection.execute(_EVENT, (stream, revision)).fetchall():
                return from_row((stream, *row), type_name or "")
        except (sqlite3.Error, StoreDamaged):
            pass
        return None

    def quarantine(self) -> QuarantineRecord:
        """Raises StoreUnavailable, StoreDamaged."""
        return decode_record(quarantine.load(self._connection).data)

    def faults(self, end: int) -> Iterator[str]:
        """What is wrong with the pages, the indexes and the end of the file. `end` is the position of its last
        event."""
        try:
            for (fault,) in self._connection.execute("PRAGMA integrity_check"):
                if fault != "ok":
                    yield f"{FILE}: {fault}"
            for stream, request, count in self._connection.execute(_TORN_REQUESTS):
                yield f"{stream} has {count} events of request {request} that are not those of one command"
        except sqlite3.Error as error:
            yield f"{FILE}: {error}"
        if not has_wal(self._path):
            try:
                check_size(self._path)
            except StoreRefused as error:
                # Not if a bank has begun to write meanwhile.
                if not has_wal(self._path):
                    yield str(error)
        mark = self._mark
        if mark is not None and mark.store_id == self.store_id and mark.position > end:
            yield f"the log ends at position {end}, and had come to {mark.position} when it was last stopped"

    def close(self) -> None:
        self._connection.close()


def read_events(connection: sqlite3.Connection, after: int = 0) -> Iterator[RecordedEvent | str]:
    """All events after a position, in order. A damaged event comes as a description of the damage."""
    try:
        count = SLICE
        while count == SLICE:
            count = 0
            for *row, stream, type_name in connection.execute(_EVENTS, (after, SLICE)):
                count, after = count + 1, row[0]
                try:
                    yield from_row((stream or "", *row), type_name or "")
                except StoreDamaged as error:
                    yield str(error)
    except sqlite3.Error as error:
        yield f"the events can't be read any further: {error}"

"""Queries of the log. Only durable events are shown, so every query says up to which position the log is durable."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from openbank.eventstore.errors import StoreDamaged, StoreUnavailable
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.sqlite.rows import Row, from_row

_SELECT = "SELECT streams.name, events.* FROM events JOIN streams ON streams.key = events.stream "
_TYPE = 5
"""The column of the type's key in its rows."""

PAIRS_MAX = 32
"""The most pairs in one statement. Each number of them is a statement of its own."""


@lru_cache(maxsize=64)
def _find_requests(count: int) -> str:
    # With the plus, the index of requests answers alone.
    return (
        "SELECT position FROM events WHERE stream = (SELECT key FROM streams WHERE name = ?)"
        f" AND request_id IN ({', '.join('?' * count)}) AND +position <= ?"
    )


@lru_cache(maxsize=PAIRS_MAX)
def _find_streams(count: int) -> str:
    # In this order, each by an index that answers alone.
    return (
        f"SELECT DISTINCT asked.column1 FROM (VALUES {', '.join(['(?, ?)'] * count)}) AS asked"
        " CROSS JOIN streams ON streams.name = asked.column1"
        " CROSS JOIN events ON events.stream = streams.key AND events.request_id = asked.column2"
    )


class FileReader:
    """Reads on the event loop. Handing over to a thread costs more than most answers, and beside a busy loop a thread
    waits for the GIL at every row.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._types: dict[int, str] = {}

    def stream(self, stream: str, after: int, limit: int, durable: int) -> list[RecordedEvent]:
        events = self._select(
            "WHERE streams.name = ? AND revision > ? AND position <= ? ORDER BY revision LIMIT ?",
            stream,
            after,
            durable,
            limit,
        )
        for revision, event in enumerate(events, after + 1):
            if event.revision != revision:
                raise StoreDamaged(f"{stream} has no event with revision {revision}")
        return events

    def end(self, stream: str, limit: int, durable: int) -> list[RecordedEvent]:
        where = "WHERE streams.name = ? AND position <= ? ORDER BY revision DESC LIMIT ?"
        return self._select(where, stream, durable, limit)[::-1]

    def requests(self, stream: str, request_ids: Sequence[bytes], durable: int) -> list[RecordedEvent]:
        # Nearly always there are none, and the index alone shows that. As bytearrays: Python's sqlite3 first looks for
        # an adapter for bytes.
        found = self._rows(_find_requests(len(request_ids)), stream, *map(bytearray, request_ids), durable)
        if not found:
            return []
        marks = ", ".join("?" * len(found))
        return self._select(f"WHERE position IN ({marks}) ORDER BY position", *(position for (position,) in found))

    def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> set[str]:
        """The streams that have an event of one of these requests, also one that is not durable yet."""
        found: set[str] = set()
        for start in range(0, len(requests), PAIRS_MAX):
            some = [value for stream, id in requests[start : start + PAIRS_MAX] for value in (stream, bytearray(id))]
            found.update(name for (name,) in self._rows(_find_streams(len(some) // 2), *some))
        return found

    def log(self, after: int, limit: int, durable: int) -> list[RecordedEvent]:
        events = self._consecutive(after, limit, durable)
        if events:
            last = events[-1]
            rest = last.metadata.parts - last.metadata.part - 1
            if rest:
                events += self._consecutive(last.position, rest, durable)
        return events

    def streams(self, pattern: str) -> list[str]:
        """Names of streams that match a GLOB pattern."""
        return [row[0] for row in self._rows("SELECT name FROM streams WHERE name GLOB ? ORDER BY key", pattern)]

    def types(self) -> list[str]:
        """The stored types of all events."""
        return [row[0] for row in self._rows("SELECT name FROM types ORDER BY key")]

    def events_of_type(self, type_name: str) -> list[tuple[str, int]]:
        """Stream and revision of each, in order. Reads the whole log: there is no index of types."""
        statement = (
            "SELECT streams.name, revision FROM events JOIN streams ON streams.key = events.stream"
            " WHERE type = (SELECT key FROM types WHERE name = ?) ORDER BY position"
        )
        return [(stream, revision) for stream, revision in self._rows(statement, type_name)]

    def first_since(self, time: int, after: int, through: int) -> int | None:
        rows = self._rows(
            "SELECT position FROM events WHERE position > ? AND position <= ? AND record_time >= ?"
            " ORDER BY position LIMIT 1",
            after,
            through,
            time,
        )
        return rows[0][0] if rows else None

    def place_before(self, position: int) -> LogPosition:
        events = self._select("WHERE position < ? ORDER BY position DESC LIMIT 1", position)
        return events[0].place if events else BEGINNING

    def _consecutive(self, after: int, limit: int, durable: int) -> list[RecordedEvent]:
        events = self._select("WHERE position > ? AND position <= ? ORDER BY position LIMIT ?", after, durable, limit)
        for position, event in enumerate(events, after + 1):
            if event.position != position:
                raise StoreDamaged(f"the log has no event at position {position}")
        return events

    def _select(self, where: str, *values: object) -> list[RecordedEvent]:
        rows = self._rows(_SELECT + where, *values)
        if not self._types.keys() >= {row[_TYPE] for row in rows}:
            self._types = dict(self._rows("SELECT key, name FROM types"))
        # The checksum covers the type's name, so without a name it cannot match.
        types = self._types
        return [from_row(row, types.get(row[_TYPE], "")) for row in rows]

    def _rows(self, statement: str, *values: object) -> list[Row]:
        """Fetches all rows: a statement that is not read to its end would hold up checkpoints."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _failed(error) from error


def _failed(error: sqlite3.Error) -> Exception:
    """SQLite may find damage before a checksum does.

    Text that is not UTF-8, an error without a code, is always damage. "Malformed" is not: SQLite also reports it for a
    page that the disk failed to return this time.
    """
    if getattr(error, "sqlite_errorcode", None) is None and isinstance(error, sqlite3.OperationalError):
        return StoreDamaged(str(error))
    return StoreUnavailable(str(error))

"""Snapshots of streams, so that no stream has to be read from its beginning.

Failures are ignored, as nothing depends on snapshots. A snapshot is written with others, or when its stream is read: a
transaction for each would cost more than it saves. Unwritten snapshots are lost when the process ends. The next fold of
the stream makes them again.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import suppress
from itertools import chain

from openbank.eventstore.port import Snapshot

WRITTEN_TOGETHER = 64

_VALUES = "((SELECT key FROM streams WHERE name = ?), ?, ?, ?, ?)"
_NEWEST = """
SELECT revision, event_id, data, checksum FROM kept_snapshots
WHERE stream = (SELECT key FROM streams WHERE name = ?) AND revision <= ? ORDER BY revision DESC LIMIT 1
"""
_REVISION_MAX = (1 << 63) - 1


class Snapshots:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unwritten: list[tuple[str, Snapshot]] = []
        self._streams: set[str] = set()
        """The streams of the unwritten snapshots."""

    def newest(self, stream: str, through: int | None) -> Snapshot | None:
        if stream in self._streams:
            self.write()
        with suppress(sqlite3.Error):
            values = (stream, _REVISION_MAX if through is None else through)
            for *snapshot, checksum in self._connection.execute(_NEWEST, values).fetchall():
                found = Snapshot(*snapshot)
                if checksum == _checksum(stream, found):
                    return found
        return None

    def keep(self, stream: str, snapshot: Snapshot) -> None:
        self._unwritten.append((stream, snapshot))
        self._streams.add(stream)
        if len(self._unwritten) >= WRITTEN_TOGETHER:
            self.write()

    def write(self) -> None:
        rows = [(stream, *snapshot, _checksum(stream, snapshot)) for stream, snapshot in self._unwritten]
        self._unwritten.clear()
        self._streams.clear()
        if rows:
            with suppress(sqlite3.Error):
                statement = f"INSERT OR REPLACE INTO kept_snapshots VALUES {', '.join([_VALUES] * len(rows))}"
                self._connection.execute(statement, list(chain.from_iterable(rows)))


def _checksum(stream: str, snapshot: Snapshot) -> int:
    revision, event_id, data = snapshot
    return zlib.crc32(b"%b\0%d\0%b\0%b" % (stream.encode(), revision, event_id, data))

"""The log in a SQLite file: it outlives a kill -9 of the process, which is all that tests ask of it."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.stand_ins.eventstoredb.log import Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY, stream TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
    type TEXT NOT NULL, is_json INTEGER NOT NULL, created INTEGER NOT NULL, data BLOB NOT NULL, metadata BLOB NOT NULL
)
"""


class SQLiteStore:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(SCHEMA)

    def load(self) -> Iterable[Record]:
        for row in self._connection.execute("SELECT * FROM records ORDER BY position"):
            yield Record(*row)._replace(is_json=bool(row[5]))

    def save(self, records: Sequence[Record]) -> None:
        execute = self._connection.execute
        execute("BEGIN")
        for record in records:
            execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", record)
        execute("COMMIT")

    def drop(self, position: int) -> None:
        """Those from this position on."""
        self._connection.execute("DELETE FROM records WHERE position >= ?", (position,))

    def close(self) -> None:
        self._connection.close()

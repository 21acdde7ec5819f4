"""Views rebuilt from the log in a temporary database, to compare others with.

SQLite removes the database from its directory as soon as it is open: nothing is left, however the process ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.sqlite_wal import set_pragma
from openbank.views.changes import Change, MovementReversed
from openbank.views.port import Listed, ListedTransfer
from openbank.views.sqlite.questions import EVENT_COLUMNS
from openbank.views.sqlite.rows import (
    Row,
    account_of,
    event_of,
    hold_of,
    is_movement,
    person_of,
    totals_of,
    transfer_of,
)
from openbank.views.sqlite.schema import SCHEMA
from openbank.views.sqlite.writer import in_transaction, project
from openbank.views.totals import Totals

CACHE_KIB = 16 * 1024
"""What does not fit goes to a file on the disk."""

_EVENTS = f"""
SELECT {EVENT_COLUMNS}
FROM account_events JOIN accounts ON account_events.account = accounts.position
WHERE account_events.position > ? ORDER BY account_events.position LIMIT ?
"""
_AGGREGATES: dict[str, tuple[str, Callable[[Row], Versioned[Any]]]] = {
    "persons": ("person_id", person_of),
    "accounts": ("account_id", account_of),
    "holds": ("hold_id", hold_of),
}


def open_made() -> sqlite3.Connection:
    connection = sqlite3.connect("", uri=True, isolation_level=None)
    set_pragma(connection, "cache_size", -CACHE_KIB)
    connection.executescript(SCHEMA)
    return connection


class MadeViews:
    def __init__(self) -> None:
        self._connection = open_made()

    def rebuild(self, changes: Sequence[Change], through: LogPosition) -> None:
        in_transaction(self._connection, project, changes, through)

    def aggregates(self, table: str, after: int, limit: int) -> Sequence[Listed[Any]]:
        """Persons, accounts or holds whose first event is after a position, in the order of the log."""
        return self._read(table, f"SELECT * FROM {table} WHERE position > ? ORDER BY position LIMIT ?", after, limit)

    def named(self, table: str, ids: Sequence[str]) -> Sequence[Listed[Any]]:
        marks = ", ".join("?" * len(ids))
        return self._read(table, f"SELECT * FROM {table} WHERE {_AGGREGATES[table][0]} IN ({marks})", *ids)

    def events(self, after: int, limit: int) -> Sequence[tuple[RecordedEvent, Totals, bool]]:
        """Events of accounts, with their running totals, and whether they are movements."""
        rows = self._connection.execute(_EVENTS, (after, limit)).fetchall()
        return [(event_of(row), totals_of(row), is_movement(row)) for row in rows]

    def terms(self, after: tuple[bytes, int], limit: int) -> Sequence[tuple[bytes, int]]:
        """The terms of movements, each with its position, in the order of both."""
        statement = "SELECT term, position FROM movement_terms WHERE (term, position) > (?, ?) ORDER BY 1, 2 LIMIT ?"
        return self._connection.execute(statement, (*after, limit)).fetchall()

    def reversals(self, after: int, limit: int) -> Sequence[MovementReversed]:
        statement = (
            "SELECT position, account_id, revision, reversed_by FROM reversals WHERE position > ?"
            " ORDER BY position LIMIT ?"
        )
        return [MovementReversed(*row) for row in self._connection.execute(statement, (after, limit)).fetchall()]

    def transfers(self, after: str, limit: int) -> Sequence[ListedTransfer]:
        """Those that were sent and whose ids are greater, in the order of their ids."""
        where = "transfer_id > ? AND position IS NOT NULL"
        statement = f"SELECT * FROM transfers WHERE {where} ORDER BY transfer_id LIMIT ?"
        return [transfer_of(row) for row in self._connection.execute(statement, (after, limit)).fetchall()]

    def transfer(self, transfer_id: str) -> ListedTransfer | None:
        """One that was sent."""
        statement = "SELECT * FROM transfers WHERE transfer_id = ? AND position IS NOT NULL"
        row = self._connection.execute(statement, (transfer_id,)).fetchone()
        return transfer_of(row) if row else None

    def count(self, table: str) -> int:
        """Rows with a place in the log."""
        statement = f"SELECT count(*) FROM {table} WHERE position IS NOT NULL"
        return int(self._connection.execute(statement).fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    def _read(self, table: str, statement: str, *values: object) -> Sequence[Listed[Any]]:
        convert = _AGGREGATES[table][1]
        return [Listed(row[0], convert(row)) for row in self._connection.execute(statement, values).fetchall()]

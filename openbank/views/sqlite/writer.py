"""What changes the file: a batch of changes, in few and large statements, or the start from nothing; each in one
transaction, so that data and checkpoint move together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

from openbank.eventstore.port import LogPosition
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AddressSet,
    BalanceSet,
    Change,
    MinuteReached,
    PersonInserted,
)
from openbank.views.port import LogId
from openbank.views.sqlite.rows import Row, account_row, address_row, balance_row, event_row, person_row
from openbank.views.sqlite.schema import TABLES

STATEMENT_ROWS_MAX = 1_024
"""Rows in one statement. SQLite allows 32,766 variables in it."""
STATEMENT_ROWS_EXACT = 64
"""Up to here a statement has as many rows as there are, beyond it a power of two: each is kept prepared."""

# DO NOTHING is what a redelivery meets. OR IGNORE would also pass over what a table does not allow.
_INSERT_PERSONS = "INSERT INTO persons VALUES {rows} ON CONFLICT DO NOTHING"
_INSERT_ACCOUNTS = "INSERT INTO accounts VALUES {rows} ON CONFLICT DO NOTHING"
# By the account's position rather than its id and owner: an index a fifth of the size, and so as many fewer pages to
# write, as events come in the order of the log and not in that of accounts. CROSS JOIN keeps the order of the loops,
# WHERE lets the parser tell ON CONFLICT from a join's ON.
_INSERT_EVENTS = """
INSERT INTO account_events
SELECT new.column2, accounts.position, new.column3, new.column4, new.column5, new.column6, new.column7,
       new.column8, new.column9, new.column10, new.column11, new.column12, new.column13
FROM (VALUES {rows}) AS new CROSS JOIN accounts ON accounts.account_id = new.column1
WHERE true ON CONFLICT DO NOTHING
"""
_SET_ADDRESSES = """
UPDATE persons SET revision = new.column2, update_time = new.column3,
                   street = new.column4, city = new.column5, postal_code = new.column6, country = new.column7
FROM (VALUES {rows}) AS new WHERE person_id = new.column1 AND revision < new.column2
"""
_SET_BALANCES = """
UPDATE accounts SET revision = new.column2, update_time = new.column3, balance = new.column4
FROM (VALUES {rows}) AS new WHERE account_id = new.column1 AND revision < new.column2
"""
_INSERT_MINUTES = "INSERT INTO minutes VALUES {rows} ON CONFLICT DO NOTHING"
_SET_CHECKPOINT = "UPDATE checkpoint SET position = ?1, stream = ?2, revision = ?3 WHERE position < ?1"

_Set = TypeVar("_Set", AddressSet, BalanceSet)


def in_transaction(connection: sqlite3.Connection, write: Callable[..., None], *arguments: object) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        write(connection, *arguments)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def clear(connection: sqlite3.Connection, log: LogId) -> None:
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("INSERT INTO checkpoint VALUES (1, ?, ?, 0, '', 0)", log)


def project(connection: sqlite3.Connection, changes: Sequence[Change], through: LogPosition) -> None:
    """What is inserted comes first: an aggregate's first event is before its others, here as in the log."""
    persons: list[Row] = []
    accounts: list[Row] = []
    events: list[Row] = []
    addresses: dict[str, AddressSet] = {}
    balances: dict[str, BalanceSet] = {}
    minutes: list[Row] = []
    for change in changes:
        match change:
            case BalanceSet():
                _keep_latest(balances, change.account_id, change)
            case AccountEventRecorded():
                events.append(event_row(change))
            case AccountInserted():
                accounts.append(account_row(change))
            case PersonInserted():
                persons.append(person_row(change))
            case AddressSet():
                _keep_latest(addresses, change.person_id, change)
            case MinuteReached(minute, place):
                minutes.append((minute, *place))
    _execute(connection, _INSERT_PERSONS, persons)
    _execute(connection, _INSERT_ACCOUNTS, accounts)
    _execute(connection, _INSERT_EVENTS, events)
    _execute(connection, _SET_ADDRESSES, [address_row(change) for change in addresses.values()])
    _execute(connection, _SET_BALANCES, [balance_row(change) for change in balances.values()])
    _execute(connection, _INSERT_MINUTES, minutes)
    connection.execute(_SET_CHECKPOINT, through)


def _keep_latest(changes: dict[str, _Set], key: str, change: _Set) -> None:
    """One change an aggregate and statement: of several rows that match, UPDATE takes any."""
    known = changes.get(key)
    if known is None or known.revision < change.revision:
        changes[key] = change


def _execute(connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    """In few steps: at each the thread gives the GIL away, and gets it back only when a busy event loop lets go.

    Beside such a loop, 64 rows a statement are several times slower than 1,024, and `executemany` slower still.
    """
    start = 0
    while start < len(rows):
        some = rows[start : start + _statement_rows(len(rows) - start)]
        row = f"({', '.join('?' * len(some[0]))})"
        connection.execute(statement.format(rows=", ".join([row] * len(some))), list(chain.from_iterable(some)))
        start += len(some)


def _statement_rows(rows: int) -> int:
    if rows <= STATEMENT_ROWS_EXACT:
        return rows
    return min(1 << rows.bit_length() - 1, STATEMENT_ROWS_MAX)

"""What changes the file: a batch of changes, in few and large statements, or the start from nothing; each in one
transaction, so that data and checkpoint move together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from openbank.domain.tags import NO_TAGS
from openbank.eventstore.port import LogPosition
from openbank.views.changes import AccountUpdated, Change, Grouped
from openbank.views.port import LogId
from openbank.views.sqlite.rows import (
    Row,
    account_row,
    account_update_row,
    event_row,
    funds_update_row,
    hold_row,
    hold_update_row,
    known_totals,
    minute_row,
    person_row,
    person_update_row,
    reversal_row,
    term_row,
    transfer_row,
)
from openbank.views.sqlite.schema import TABLES
from openbank.views.terms import terms
from openbank.views.totals import Totals, add_up

STATEMENT_ROWS_MAX = 1_024
"""Rows in one statement. SQLite allows 32,766 variables in it."""
STATEMENT_ROWS_EXACT = 16
"""Up to here a statement has as many rows as there are, beyond it a power of two: each is kept prepared."""

# DO NOTHING is what a redelivery meets. OR IGNORE would also pass over what a table does not allow.
_INSERT_PERSONS = "INSERT INTO persons VALUES {rows} ON CONFLICT DO NOTHING"
_INSERT_ACCOUNTS = "INSERT INTO accounts VALUES {rows} ON CONFLICT DO NOTHING"
# By the account's position rather than its id and owner: an index a fifth of the size, and so as many fewer pages to
# write, as events come in the order of the log and not in that of accounts.
_INSERT_EVENTS = "INSERT INTO account_events VALUES {rows} ON CONFLICT DO NOTHING"
_INSERT_TERMS = "INSERT INTO movement_terms VALUES {rows} ON CONFLICT DO NOTHING"
_SELECT_TOTALS = """
SELECT account_id, position, revision, time, entries, credits FROM accounts WHERE account_id IN (VALUES {rows})
"""
# A value that is NULL is left as it is.
_UPDATE_PERSONS = """
UPDATE persons SET revision = new.column2, update_time = new.column3,
                   street = coalesce(new.column4, street), city = coalesce(new.column5, city),
                   postal_code = coalesce(new.column6, postal_code), country = coalesce(new.column7, country)
FROM (VALUES {rows}) AS new WHERE person_id = new.column1 AND revision < new.column2
"""
_UPDATE_ACCOUNTS = """
UPDATE accounts SET revision = new.column2, update_time = new.column3,
                    balance = coalesce(new.column4, balance), available = coalesce(new.column5, available),
                    state = coalesce(new.column6, state), freeze_reason = coalesce(new.column7, freeze_reason),
                    close_time = coalesce(new.column8, close_time),
                    overdraft_limit = coalesce(new.column9, overdraft_limit),
                    spending = coalesce(new.column10, spending), time = coalesce(new.column11, time),
                    entries = coalesce(new.column12, entries), credits = coalesce(new.column13, credits)
FROM (VALUES {rows}) AS new WHERE account_id = new.column1 AND revision < new.column2
"""
# The same for most updates, which set nothing else: a NULL costs as much as the rest of a row.
_UPDATE_FUNDS = """
UPDATE accounts SET revision = new.column2, update_time = new.column3, balance = new.column4, available = new.column5,
                    time = new.column6, entries = new.column7, credits = new.column8
FROM (VALUES {rows}) AS new WHERE position = new.column1 AND revision < new.column2
"""
# Each event sets columns of its own, so they may come in any order, and again.
_UPDATE_TRANSFERS = """
INSERT INTO transfers VALUES {rows} ON CONFLICT (transfer_id) DO UPDATE SET
    position = coalesce(position, excluded.position), sent_revision = coalesce(sent_revision, excluded.sent_revision),
    source = coalesce(source, excluded.source), destination = coalesce(destination, excluded.destination),
    currency = coalesce(currency, excluded.currency), exponent = coalesce(exponent, excluded.exponent),
    amount = coalesce(amount, excluded.amount), description = coalesce(description, excluded.description),
    hold_id = coalesce(hold_id, excluded.hold_id), tags = coalesce(tags, excluded.tags),
    reverses = coalesce(reverses, excluded.reverses), reversed_by = max(reversed_by, excluded.reversed_by),
    create_time = coalesce(create_time, excluded.create_time),
    state = max(state, excluded.state), received_revision = max(received_revision, excluded.received_revision),
    refusal = max(refusal, excluded.refusal), update_time = max(update_time, excluded.update_time)
"""
_INSERT_HOLDS = "INSERT INTO holds VALUES {rows} ON CONFLICT DO NOTHING"
_UPDATE_HOLDS = """
UPDATE holds SET revision = new.column2, update_time = new.column3, state = new.column4, remaining = new.column5,
                 released = new.column6
FROM (VALUES {rows}) AS new WHERE hold_id = new.column1 AND revision < new.column2
"""
_INSERT_REVERSALS = "INSERT INTO reversals VALUES {rows} ON CONFLICT DO NOTHING"
_INSERT_MINUTES = "INSERT INTO minutes VALUES {rows} ON CONFLICT DO NOTHING"
_SET_CHECKPOINT = "UPDATE checkpoint SET position = ?1, stream = ?2, revision = ?3 WHERE position < ?1"

# Not in the schema, as there are views of this format without it.
_CREATE_REBUILD = """
CREATE TABLE IF NOT EXISTS rebuild (
    one INTEGER PRIMARY KEY CHECK (one = 1), start_time INTEGER NOT NULL, end_time INTEGER, failure TEXT NOT NULL
) STRICT
"""
_KEEP_REBUILD = "INSERT OR REPLACE INTO rebuild VALUES (1, ?, ?, ?)"

_Change = TypeVar("_Change")
_Added = Mapping[str, tuple[int, Totals]]
"""By account with events that were added: its position, and the totals after the last of them."""
_NOT_ADDED = 0, None


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


def keep_rebuild(connection: sqlite3.Connection, start_time: int, end_time: int | None, failure: str) -> None:
    connection.execute(_CREATE_REBUILD)
    connection.execute(_KEEP_REBUILD, (start_time, end_time, failure))


def project(connection: sqlite3.Connection, changes: Sequence[Change], through: LogPosition) -> None:
    """What is inserted comes first: an aggregate's first event is before its others, here as in the log."""
    grouped = Grouped(changes)
    _execute(connection, _INSERT_PERSONS, person_row, grouped.persons)
    added = _insert_events(connection, grouped)
    for person_updates in grouped.person_updates:
        _execute(connection, _UPDATE_PERSONS, person_update_row, person_updates)
    for account_updates in grouped.account_updates:
        _update_accounts(connection, account_updates, added)
    _execute(connection, _UPDATE_TRANSFERS, transfer_row, grouped.transfers)
    _execute(connection, _INSERT_HOLDS, hold_row, grouped.holds)
    _execute(connection, _UPDATE_HOLDS, hold_update_row, grouped.hold_updates)
    _execute(connection, _INSERT_REVERSALS, reversal_row, grouped.reversals)
    _execute(connection, _INSERT_MINUTES, minute_row, grouped.minutes)
    connection.execute(_SET_CHECKPOINT, through)


def _insert_events(connection: sqlite3.Connection, grouped: Grouped) -> _Added:
    """Accounts and their events. Returns what was added."""
    accounts = list({event.account_id: None for event in grouped.events})
    # Before accounts are inserted: the views have no event of a new one.
    known = list(_select(connection, _SELECT_TOTALS, accounts))
    _execute(connection, _INSERT_ACCOUNTS, account_row, grouped.accounts)
    positions = {one.account.state.account_id: one.position for one in grouped.accounts}
    positions |= {row[0]: row[1] for row in known}
    before = {row[0]: known_totals(row[2:]) for row in known}
    added = add_up([event for event in grouped.events if event.account_id in positions], before)
    _write(connection, _INSERT_EVENTS, [event_row(positions[one.account_id], one, after) for one, after in added])
    tagged = [change for change, _ in added if change.tags is not NO_TAGS]
    found_by = [(term, one.event.position) for one in tagged for term in terms(one.account_id, one.tags)]
    _execute(connection, _INSERT_TERMS, term_row, found_by)
    return {change.account_id: (positions[change.account_id], after) for change, after in added}


def _update_accounts(connection: sqlite3.Connection, updates: Sequence[AccountUpdated], added: _Added) -> None:
    """One update of each account."""
    funds: list[Row] = []
    others: list[Row] = []
    for update in updates:
        account, last = added.get(update.account_id, _NOT_ADDED)
        # None where the event is not new, or where a later update of the account has the totals.
        totals = last if last and last.revision == update.revision else None
        if totals is not None and update.sets_funds_only:
            funds.append(funds_update_row(account, update, totals))
        else:
            others.append(account_update_row(update, totals))
    _write(connection, _UPDATE_FUNDS, funds)
    _write(connection, _UPDATE_ACCOUNTS, others)


def _select(connection: sqlite3.Connection, statement: str, values: Sequence[str]) -> Iterator[Row]:
    start = 0
    while start < len(values):
        some = values[start : start + _statement_rows(len(values) - start)]
        yield from connection.execute(_with_rows(statement, len(some), 1), some).fetchall()
        start += len(some)


def _execute(
    connection: sqlite3.Connection, statement: str, row_of: Callable[[_Change], Row], changes: Sequence[_Change]
) -> None:
    _write(connection, statement, list(map(row_of, changes)))


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    """In few steps: at each the thread gives the GIL away, and gets it back only when a busy event loop lets go.

    Beside such a loop, 64 rows a statement are several times slower than 1,024, and `executemany` slower still.
    """
    start = 0
    while start < len(rows):
        some = rows[start : start + _statement_rows(len(rows) - start)]
        connection.execute(_with_rows(statement, len(some), len(some[0])), list(chain.from_iterable(some)))
        start += len(some)


@lru_cache(maxsize=1_024)
def _with_rows(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=", ".join([row] * rows))


def _statement_rows(rows: int) -> int:
    if rows <= STATEMENT_ROWS_EXACT:
        return rows
    return min(1 << rows.bit_length() - 1, STATEMENT_ROWS_MAX)

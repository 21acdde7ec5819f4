"""The embedded views: one SQLite file in WAL mode, used on the event loop.

A read by key takes some ten microseconds, a hand-over to a thread and back more than a hundred, and beside a busy loop
a thread waits for the GIL again at every row: so reads and small batches stay where they are. A large batch, as a
rebuild has them, goes to a thread, in few and large statements for the same reason.

Views can be built anew, so that a commit need not be synced: `synchronous=NORMAL` may lose the last commits in a
power cut, data and checkpoint together.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from openbank.domain.account import Account, AccountState
from openbank.domain.fields import account_number_key
from openbank.domain.money import Currency, Money
from openbank.domain.person import Address, Gender, Person
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, LogPosition, Metadata, RecordedEvent
from openbank.eventstore.streams import account_stream
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AddressSet,
    BalanceSet,
    Change,
    MinuteReached,
    PersonInserted,
)
from openbank.views.port import MINUTE_MICROSECONDS, NO_MINUTE, Listed, LogId, ViewsDamaged, ViewsUnavailable

FILE = "views.db"
APPLICATION_ID = 0x4F427677
"""In the file's header: "OBvw"."""
FORMAT = 2
"""Of tables and projections together: views of another format, older or newer, are rebuilt."""
STATEMENT_ROWS_MAX = 1_024
"""Rows in one statement. SQLite allows 32,766 variables in it."""
STATEMENT_ROWS_EXACT = 64
"""Up to here a statement has as many rows as there are, beyond it a power of two: each is kept prepared."""
ACCOUNTS_MAX = 20_000
"""Accounts kept in memory, of some 600 bytes each; when there are as many, it begins anew."""
CACHE_KIB = 16 * 1024
BULK_CACHE_KIB = 4 * 1024
LOOP_CHANGES_MAX = 256
"""A batch with more of them would hold up the event loop for too long."""
REST_SECONDS = 0.002
"""Between two small batches: a transaction costs as much as some ten changes in it."""
CHECKPOINT_CHANGES = 4_000
"""Made on the loop between two checkpoints, which are a thread's. The projector waits for each, so that the WAL can
begin anew after it."""

_SCHEMA = f"""
CREATE TABLE checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    bank_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE persons (
    position INTEGER PRIMARY KEY,
    person_id TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    nationality TEXT NOT NULL,
    gender TEXT NOT NULL,
    date_of_birth TEXT NOT NULL,
    street TEXT NOT NULL,
    city TEXT NOT NULL,
    postal_code TEXT NOT NULL,
    country TEXT NOT NULL,
    email TEXT NOT NULL,
    revision INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT;
CREATE TABLE accounts (
    position INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL UNIQUE,
    owner_id TEXT NOT NULL,
    account_number TEXT NOT NULL,
    number_key TEXT NOT NULL,
    currency TEXT NOT NULL,
    exponent INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_by_owner ON accounts (owner_id, position);
CREATE INDEX accounts_by_number ON accounts (number_key, position);
CREATE TABLE account_events (
    position INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts,
    revision INTEGER NOT NULL,
    id BLOB NOT NULL,
    type TEXT NOT NULL,
    data BLOB NOT NULL,
    record_time INTEGER NOT NULL,
    request_id BLOB NOT NULL,
    request_hash BLOB NOT NULL,
    correlation_id TEXT NOT NULL,
    causation_id TEXT NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX account_events_by_account ON account_events (account, revision);
CREATE TABLE minutes (
    minute INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""
_PROJECTED = ("persons", "accounts", "account_events")
_TABLES = ("checkpoint", *_PROJECTED, "minutes")

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
_SELECT_EVENTS = """
SELECT account_events.*, accounts.owner_id
FROM accounts JOIN account_events ON account_events.account = accounts.position
WHERE accounts.account_id = ? AND account_events.revision < ? ORDER BY account_events.revision DESC LIMIT ?
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

_Row = Sequence[Any]
_Set = TypeVar("_Set", AddressSet, BalanceSet)

_log = logging.getLogger(__name__)


class SqliteViews:
    """`Views` in `DIRECTORY/views.db`. One process at a time: the caller holds the directory's lock."""

    shared = False
    available = True
    log: LogId | None
    position: LogPosition

    def __init__(self, directory: Path) -> None:
        """Opens the views, or makes empty ones where there are none that this version can read, with a line.

        Raises ViewsUnavailable where no file can be made.
        """
        self._path = (directory / FILE).resolve()
        try:
            _prepare(self._path)
            self._connection = _connect(self._path)
            # Checkpoints sync, which the loop must not wait for.
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._bulk = _connect(self._path)
            """For the thread: what it has not committed yet must not be read."""
            self._bulk.execute(f"PRAGMA cache_size = -{BULK_CACHE_KIB}")
            self.log, self.position = _checkpoint(self._connection)
        except sqlite3.Error as error:
            raise ViewsUnavailable(f"{self._path} can't be opened: {error}") from error
        self._writing = ThreadPoolExecutor(1, "views-writer")
        self._advanced = asyncio.Event()
        self._accounts: dict[str, Versioned[Account]] = {}
        """As they are, of those that were read lately."""
        self._waiting = 0
        """How many wait for the views to go on."""
        self._pause: asyncio.Future[None] | None = None
        self._changes = 0
        """Made on the loop since the last checkpoint."""

    async def wait_for(self, position: int) -> None:
        self._waiting += 1
        if self._pause is not None:
            _resolve(self._pause)
        try:
            while self.position.position < position:
                await self._advanced.wait()
        finally:
            self._waiting -= 1

    async def project(self, changes: Sequence[Change], through: LogPosition) -> None:
        small = len(changes) <= LOOP_CHANGES_MAX
        if small:
            self._project_here(changes, through)
        else:
            await self._write(_project, changes, through)
        for change in changes:
            if isinstance(change, BalanceSet):
                self._accounts.pop(change.account_id, None)
        if through.position > self.position.position:
            self.position = through
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()
        if self._changes >= CHECKPOINT_CHANGES:
            self._changes = 0
            await self._in_thread(self._bulk.execute, "PRAGMA wal_checkpoint(PASSIVE)")
        if small:
            await self._rest()

    async def clear(self, log: LogId) -> None:
        await self._write(_clear, log)
        self._accounts.clear()
        self.log, self.position = log, BEGINNING

    async def person(self, person_id: str) -> Versioned[Person] | None:
        rows = self._read("SELECT * FROM persons WHERE person_id = ?", person_id)
        return _person(rows[0]) if rows else None

    async def persons(self, after: int, limit: int) -> Sequence[Listed[Person]]:
        rows = self._read("SELECT * FROM persons WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        return [Listed(row[0], _person(row)) for row in rows]

    async def account(self, account_id: str) -> Versioned[Account] | None:
        known = self._accounts.get(account_id)
        if known is not None:
            return known
        rows = self._read("SELECT * FROM accounts WHERE account_id = ?", account_id)
        return self._kept(_account(rows[0])) if rows else None

    async def account_by_number(self, key: str) -> Versioned[Account] | None:
        rows = self._read("SELECT * FROM accounts WHERE number_key = ? ORDER BY position LIMIT 1", key)
        return _account(rows[0]) if rows else None

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        where = "FROM accounts WHERE owner_id = ? AND position > ? ORDER BY position LIMIT ?"
        rows = self._read(f"SELECT position, account_id {where}", owner_id, after, limit)
        try:
            return [Listed(position, self._accounts[account_id]) for position, account_id in rows]
        except KeyError:
            rows = self._read(f"SELECT * {where}", owner_id, after, limit)
            return [Listed(row[0], self._kept(_account(row))) for row in rows]

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        rows = self._read(_SELECT_EVENTS, account_id, before, limit)
        return [_event(account_id, row) for row in rows]

    async def place_before(self, time: int) -> LogPosition:
        rows = self._read(
            "SELECT position, stream, revision FROM minutes WHERE minute <= ? ORDER BY minute DESC LIMIT 1",
            time // MINUTE_MICROSECONDS,
        )
        return LogPosition(*rows[0]) if rows else BEGINNING

    async def last_minute(self) -> int:
        return int(self._read("SELECT coalesce(max(minute), ?) FROM minutes", NO_MINUTE)[0][0])

    async def close(self) -> None:
        """Waits for a batch under way."""
        self._writing.shutdown()
        self._bulk.close()
        self._connection.close()

    def _kept(self, account: Versioned[Account]) -> Versioned[Account]:
        if len(self._accounts) >= ACCOUNTS_MAX:
            self._accounts.clear()
        self._accounts[account.state.account_id] = account
        return account

    def _read(self, statement: str, *values: object) -> list[_Row]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def _rest(self) -> None:
        """Lets a little more come together for the next batch, unless somebody waits for it."""
        if self._waiting:
            return
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        alarm = loop.call_later(REST_SECONDS, _resolve, self._pause)
        await self._pause
        alarm.cancel()

    def _project_here(self, changes: Sequence[Change], through: LogPosition) -> None:
        try:
            _in_transaction(self._connection, _project, changes, through)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._changes += len(changes)

    async def _write(self, write: Callable[..., None], *arguments: object) -> None:
        await self._in_thread(_in_transaction, self._bulk, write, *arguments)

    async def _in_thread(self, work: Callable[..., object], *arguments: object) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._writing, work, *arguments)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> ViewsUnavailable:
        if not _is_damage(error):
            return ViewsUnavailable(f"{self._path}: {error}")
        if self._path.exists():
            _set_aside(self._path)
        return ViewsDamaged(f"{self._path} is damaged ({error}) and set aside: the next start rebuilds it")


class SqliteViewsFile:
    """The views as they are at one moment, for another process to compare; nothing of them is written."""

    def __init__(self, directory: Path, rebuilt: Path) -> None:
        """`rebuilt` is the directory of those to compare them with. Raises ViewsUnavailable for a file that is none of
        this format's, or cannot be read.
        """
        path = (directory / FILE).resolve()
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            strange = _strange(self._connection)
            self._connection.execute("ATTACH ? AS rebuilt", (str(rebuilt / FILE),))
            self._connection.execute("BEGIN")
            self.log, self.position = _checkpoint(self._connection)
        except sqlite3.Error as error:
            strange = str(error)
        if strange:
            self._connection.close()
            raise ViewsUnavailable(f"{path} can't be read: {strange}")

    def differences(self) -> dict[str, int]:
        """How many rows of each table are in one and not in the other; of those that have any."""
        both = "SELECT count(*) FROM (SELECT * FROM {0}.{2} EXCEPT SELECT * FROM {1}.{2})"
        found = {
            table: sum(
                self._connection.execute(both.format(*sides, table)).fetchone()[0]
                for sides in (("main", "rebuilt"), ("rebuilt", "main"))
            )
            for table in _PROJECTED
        }
        return {table: count for table, count in found.items() if count}

    def close(self) -> None:
        self._connection.close()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _prepare(path: Path) -> None:
    """Sees to it that `path` is a file of this format: what is no such file is set aside, and an empty one made."""
    strange = _examine(path)
    if strange is not None:
        _log.warning("views are rebuilt", extra={"values": {"reason": strange, "set_aside": _aside(path)}})
        _set_aside(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        if _is_empty(connection):
            connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _examine(path: Path) -> str | None:
    """Why this file cannot be gone on with; None for views of this format, and for a new file."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            return _strange(connection)
        except sqlite3.Error as error:
            if _is_damage(error):
                return str(error)
            raise


def _strange(connection: sqlite3.Connection) -> str | None:
    if _is_empty(connection):
        return None
    header = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    application, version = header
    if application != APPLICATION_ID:
        return "it is another program's"
    if version != FORMAT:
        return f"it has format {version}, this version writes format {FORMAT}"
    _checkpoint(connection)
    return None


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> None:
    """Moved rather than deleted, as what cannot be read may be another's; whoever holds it open keeps it."""
    path.replace(_aside(path))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.set-aside")


def _checkpoint(connection: sqlite3.Connection) -> tuple[LogId | None, LogPosition]:
    row = connection.execute("SELECT bank_id, store_id, position, stream, revision FROM checkpoint").fetchone()
    if row is None:
        return None, BEGINNING
    return LogId(*row[:2]), LogPosition(*row[2:])


def _in_transaction(connection: sqlite3.Connection, write: Callable[..., None], *arguments: object) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        write(connection, *arguments)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _clear(connection: sqlite3.Connection, log: LogId) -> None:
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("INSERT INTO checkpoint VALUES (1, ?, ?, 0, '', 0)", log)


def _project(connection: sqlite3.Connection, changes: Sequence[Change], through: LogPosition) -> None:
    """What is inserted comes first: an aggregate's first event is before its others, here as in the log."""
    persons: list[_Row] = []
    accounts: list[_Row] = []
    events: list[_Row] = []
    addresses: dict[str, AddressSet] = {}
    balances: dict[str, BalanceSet] = {}
    minutes: list[_Row] = []
    for change in changes:
        match change:
            case BalanceSet():
                _keep_latest(balances, change.account_id, change)
            case AccountEventRecorded():
                events.append(_event_row(change))
            case AccountInserted():
                accounts.append(_account_row(change))
            case PersonInserted():
                persons.append(_person_row(change))
            case AddressSet():
                _keep_latest(addresses, change.person_id, change)
            case MinuteReached(minute, place):
                minutes.append((minute, *place))
    _execute(connection, _INSERT_PERSONS, persons)
    _execute(connection, _INSERT_ACCOUNTS, accounts)
    _execute(connection, _INSERT_EVENTS, events)
    _execute(connection, _SET_ADDRESSES, [_address_row(change) for change in addresses.values()])
    _execute(connection, _SET_BALANCES, [_balance_row(change) for change in balances.values()])
    _execute(connection, _INSERT_MINUTES, minutes)
    connection.execute(_SET_CHECKPOINT, through)


def _keep_latest(changes: dict[str, _Set], key: str, change: _Set) -> None:
    """One change an aggregate and statement: of several rows that match, UPDATE takes any."""
    known = changes.get(key)
    if known is None or known.revision < change.revision:
        changes[key] = change


def _execute(connection: sqlite3.Connection, statement: str, rows: Sequence[_Row]) -> None:
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


def _person_row(change: PersonInserted) -> _Row:
    person, revision, create_time, update_time = change.person
    address = person.address
    return (
        change.position,
        person.person_id,
        person.first_name,
        person.last_name,
        person.nationality,
        person.gender.value,
        person.date_of_birth.isoformat(),
        address.street,
        address.city,
        address.postal_code,
        address.country,
        person.email,
        revision,
        create_time,
        update_time,
    )


def _person(row: _Row) -> Versioned[Person]:
    _, person_id, first, last, nationality, gender, born, street, city, code, country, email, *version = row
    address = Address(street, city, code, country)
    person = Person(person_id, first, last, nationality, Gender(gender), date.fromisoformat(born), address, email)
    return Versioned(person, *version)


def _account_row(change: AccountInserted) -> _Row:
    account, revision, create_time, update_time = change.account
    return (
        change.position,
        account.account_id,
        account.owner_id,
        account.account_number,
        account_number_key(account.account_number),
        account.currency.code,
        account.currency.exponent,
        account.balance.minor,
        account.state.value,
        revision,
        create_time,
        update_time,
    )


def _account(row: _Row) -> Versioned[Account]:
    _, account_id, owner_id, number, _, currency, exponent, balance, state, *version = row
    money = Money(Currency(currency, exponent), balance)
    return Versioned(Account(account_id, owner_id, number, money, AccountState(state)), *version)


def _event_row(change: AccountEventRecorded) -> _Row:
    position, _, revision, event_id, event_type, data, metadata = change.event
    time, request_id, request_hash, correlation_id, causation_id, _, part, parts = metadata
    # Bytes as bytearrays, which Python's sqlite3 takes as they are.
    return (
        change.account_id,
        position,
        revision,
        bytearray(event_id),
        event_type,
        bytearray(data),
        time,
        bytearray(request_id),
        bytearray(request_hash),
        correlation_id,
        causation_id,
        part,
        parts,
    )


def _event(account_id: str, row: _Row) -> RecordedEvent:
    position, _, revision, event_id, event_type, data, time, request, digest, correlation, causation, *rest = row
    part, parts, owner_id = rest
    metadata = Metadata(time, request, digest, correlation, causation, owner_id, part, parts)
    return RecordedEvent(position, account_stream(account_id), revision, event_id, event_type, data, metadata)


def _address_row(change: AddressSet) -> _Row:
    address = change.address
    return (
        change.person_id,
        change.revision,
        change.update_time,
        address.street,
        address.city,
        address.postal_code,
        address.country,
    )


def _balance_row(change: BalanceSet) -> _Row:
    return (change.account_id, change.revision, change.update_time, change.balance.minor)

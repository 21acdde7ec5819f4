"""The file: its tables, how far they are, and what happens to a file that cannot be used."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from openbank.disk import create, sync
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.sqlite_wal import CACHE_KIB, SYNCHRONOUS_NORMAL, is_failed_sync, set_pragma, use_wal
from openbank.views.port import LogId

FILE = "views.db"
APPLICATION_ID = 0x4F427677
"""In the file's header: "OBvw"."""
FORMAT = 10
"""The format of tables and projections together. In the file it is negative where views of an earlier format were
widened, and lack what this one has added."""
OLDEST = 3
"""The earliest format that can be widened. Views of another one are rebuilt, while reads wait. A format that changes
what an earlier column means is the new OLDEST."""

SCHEMA = f"""
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
    available INTEGER NOT NULL,
    state TEXT NOT NULL,
    freeze_reason TEXT NOT NULL,
    close_time INTEGER,
    overdraft_limit INTEGER NOT NULL,
    spending TEXT NOT NULL,
    revision INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    time INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    credits ANY NOT NULL
) STRICT;
CREATE INDEX accounts_by_owner ON accounts (owner_id, position);
CREATE INDEX accounts_by_number ON accounts (number_key, position);
CREATE TABLE holds (
    position INTEGER PRIMARY KEY,
    hold_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    exponent INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    remaining INTEGER NOT NULL,
    released INTEGER NOT NULL,
    state TEXT NOT NULL,
    description TEXT NOT NULL,
    expire_time INTEGER NOT NULL,
    tags TEXT NOT NULL,
    revision INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT;
CREATE INDEX holds_by_account ON holds (account_id, state, position);
CREATE INDEX holds_by_end ON holds (expire_time, position) WHERE state = 'OPEN';
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
    parts INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    time INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    credits ANY NOT NULL, actor TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX account_events_by_account ON account_events (account, revision);
CREATE INDEX movements_by_account ON account_events (account) WHERE moved <> 0;
CREATE TABLE movement_terms (
    term BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (term, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers (
    transfer_id TEXT NOT NULL UNIQUE,
    position INTEGER,
    sent_revision INTEGER,
    source TEXT,
    destination TEXT,
    currency TEXT,
    exponent INTEGER,
    amount INTEGER,
    description TEXT,
    hold_id TEXT,
    tags TEXT,
    reverses TEXT,
    create_time INTEGER,
    state INTEGER NOT NULL,
    received_revision INTEGER NOT NULL,
    refusal TEXT NOT NULL,
    reversed_by TEXT NOT NULL,
    update_time INTEGER NOT NULL
) STRICT;
CREATE INDEX transfers_by_state ON transfers (state, position);
CREATE INDEX transfers_by_source ON transfers (source, state, position);
CREATE INDEX transfers_by_destination ON transfers (destination, state, position);
CREATE TABLE reversals (
    account_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    reversed_by INTEGER NOT NULL,
    PRIMARY KEY (account_id, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE minutes (
    minute INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""
INDEX_REQUESTS = """
CREATE INDEX IF NOT EXISTS account_events_by_request ON account_events (account, request_id) WHERE request_id <> x''
"""
"""Not part of the schema, as only one of two event stores needs it."""
TABLES = (
    "checkpoint",
    "persons",
    "accounts",
    "holds",
    "account_events",
    "movement_terms",
    "transfers",
    "reversals",
    "minutes",
)

_log = logging.getLogger(__name__)


def prepare(path: Path) -> None:
    """Sees to it that `path` is a file of this format: what is no such file is set aside, and an empty one made."""
    create(path)
    strange = _examine(path)
    if strange is not None:
        _log.warning("views are rebuilt", extra={"values": {"reason": strange, "set_aside": _aside(path)}})
        set_aside(path)
        create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        use_wal(connection)
        if _is_empty(connection):
            connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    set_pragma(connection, "synchronous", SYNCHRONOUS_NORMAL)
    set_pragma(connection, "cache_size", -CACHE_KIB)
    return connection


def strange_in(connection: sqlite3.Connection) -> str | None:
    """Why this file cannot be used; None for views of this format, and for a new file."""
    if _is_empty(connection):
        return None
    application, version = _header(connection)
    if application != APPLICATION_ID:
        return "it is another program's"
    if version != FORMAT and not is_earlier(version):
        return f"it has format {version}, this version writes format {FORMAT}"
    checkpoint(connection)
    return None


def is_of_earlier_format(connection: sqlite3.Connection) -> bool:
    """Whether these are views of an earlier format, widened or not."""
    application, version = _header(connection)
    return application == APPLICATION_ID and version != 0 and version < FORMAT


def is_earlier(version: int) -> bool:
    """Whether views of this format can be widened, or were."""
    return version != FORMAT and OLDEST <= abs(version) <= FORMAT


def version_of(connection: sqlite3.Connection) -> int:
    """The format, as the file has it."""
    return _header(connection)[1]


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    """The application's id and the format."""
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    return application, version


def _examine(path: Path) -> str | None:
    """The same of the file at `path`, which may be too damaged to be asked."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            return strange_in(connection)
        except sqlite3.Error as error:
            if is_damage(error):
                return str(error)
            raise


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def is_damage(error: sqlite3.Error) -> bool:
    """A sync that failed is damage: what it was to keep may be gone, and no later one makes up for it."""
    if is_failed_sync(error):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path) -> None:
    """Moves the file rather than deleting it: an unreadable file may belong to another program. A process that has it
    open keeps it."""
    path.replace(_aside(path))
    _remove_wal(path)
    sync(path.parent)


def replace_file(path: Path, other: Path) -> None:
    """Puts one file in the place of another, atomically and durably. The databases must be all there is: a WAL that is
    left would be taken for the other file's. Raises OSError."""
    for file in (path, other):
        _remove_wal(file)
    # Once the WALs are surely gone.
    sync(path.parent)
    sync(other)
    other.replace(path)
    sync(path.parent)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_wal(path)
    sync(path.parent)


def _remove_wal(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.set-aside")


def checkpoint(connection: sqlite3.Connection, database: str = "main") -> tuple[LogId | None, LogPosition]:
    columns = "bank_id, store_id, position, stream, revision"
    row = connection.execute(f"SELECT {columns} FROM {database}.checkpoint").fetchone()
    if row is None:
        return None, BEGINNING
    return LogId(*row[:2]), LogPosition(*row[2:])

"""Makes views of an earlier format usable by this version, where they are: in moments, however many events they hold.

What this format has added is empty or has a default, also in what is projected from then on. So the file says that it
lacks it, until a rebuild takes its place; only questions about that have to wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from openbank.views.sqlite.schema import FORMAT, SCHEMA, is_earlier, version_of
from openbank.views.sqlite.writer import in_transaction

_VALUES = {
    # Until format 4 numbers were compared with their hyphens.
    ("accounts", "number_key"): "replace(number_key, '-', '')",
    # Until format 5 there was nothing that differs from the balance.
    ("accounts", "available"): "balance",
}
"""Values of columns, from those that earlier formats had. Others have an empty one."""
_EMPTY = {"TEXT": "''", "INTEGER": "0", "ANY": "0"}


class _Column(NamedTuple):
    name: str
    type: str
    required: bool

    @property
    def empty(self) -> str:
        return _EMPTY[self.type] if self.required else "NULL"


def widen(path: Path) -> bool:
    """Whether the views at `path`, which this version can read, are of an earlier format. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        version = version_of(connection)
        if not is_earlier(version):
            return False
        if version != -FORMAT:
            in_transaction(connection, _widen)
        return True


def _widen(connection: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(SCHEMA)
        for table, statement in _statements(fresh, "table"):
            _widen_table(connection, table, _columns(fresh, table), statement, [
                index for of, index in _statements(fresh, "index") if of == table
            ])  # fmt: skip
    connection.execute(f"PRAGMA user_version = {-FORMAT}")


def _widen_table(
    connection: sqlite3.Connection, table: str, columns: Sequence[_Column], statement: str, indexes: Sequence[str]
) -> None:
    there = [column.name for column in _columns(connection, table)]
    names = [column.name for column in columns]
    if there and there == names[: len(there)]:
        # At once, whatever the table holds. An index of the new columns would not be, and nothing needs it yet.
        for column in columns[len(there) :]:
            required = f" NOT NULL DEFAULT {column.empty}" if column.required else ""
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column.name} {column.type}{required}")
        return
    beside = f"wider_{table}"
    connection.execute(statement.replace(f"CREATE TABLE {table}", f"CREATE TABLE {beside}", 1))
    if there:
        values = [_VALUES.get((table, one.name), one.name if one.name in there else one.empty) for one in columns]
        connection.execute(f"INSERT INTO {beside} SELECT {', '.join(values)} FROM {table}")
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE {beside} RENAME TO {table}")
    for index in indexes:
        connection.execute(index)


def _columns(connection: sqlite3.Connection, table: str) -> Sequence[_Column]:
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [_Column(name, type_, bool(required)) for _, name, type_, required, *_ in rows]


def _statements(connection: sqlite3.Connection, kind: str) -> Sequence[tuple[str, str]]:
    """The table, and what creates it or an index of it."""
    found = connection.execute("SELECT tbl_name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,))
    return found.fetchall()

"""The views' file, to be compared by another process, also while a bank is served from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from openbank.eventstore.port import LogPosition
from openbank.sqlite_file import attach_read_only, read_only
from openbank.views.changes import Change
from openbank.views.port import LogId, ViewsOfAnEarlierFormat, ViewsUnavailable
from openbank.views.sqlite.made import open_made
from openbank.views.sqlite.schema import FILE, checkpoint, is_of_earlier_format, strange_in
from openbank.views.sqlite.writer import in_transaction, project
from openbank.views.terms import TERM_BYTES

_CHANGING = ("persons", "accounts", "holds", "transfers", "reversals")
"""Tables that are compared as of one moment, since most rows change; those of events never do."""
_EVENTS = "account_events"
_TERMS = "movement_terms"
SLICE = 20_000
"""Positions compared in one transaction: a longer one would keep the WAL from restarting."""


class SqliteViewsFile:
    """The views that another process may be changing, beside rebuilt views (`made`). Writes nothing to them."""

    def __init__(self, directory: Path) -> None:
        """Raises ViewsOfAnEarlierFormat, and ViewsUnavailable for a file that cannot be read or is not the bank's."""
        self._path = (directory / FILE).resolve()
        try:
            with closing(read_only(self._path)) as connection:
                if is_of_earlier_format(connection):
                    raise ViewsOfAnEarlierFormat(
                        f"an earlier version of the bank wrote {self._path}, a start rebuilds it"
                    )
                strange = strange_in(connection)
                checkpoint(connection)
        except (sqlite3.Error, OSError) as error:
            strange = str(error)
        if strange:
            raise self._unreadable(strange)
        self._connection = open_made()
        attach_read_only(self._connection, self._path, "found")

    def place(self) -> tuple[LogId | None, LogPosition]:
        """The log that they belong to, and the place that they have reached. Raises ViewsUnavailable."""
        try:
            return checkpoint(self._connection, "found")
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """They are as at one moment while the block runs."""
        self._connection.execute("BEGIN")
        try:
            self.place()
            yield
        finally:
            self._connection.execute("COMMIT")

    def rebuild(self, changes: Sequence[Change], through: LogPosition) -> None:
        if self._connection.in_transaction:
            project(self._connection, changes, through)
        else:
            in_transaction(self._connection, project, changes, through)

    def differences(self) -> Iterator[tuple[str, int]]:
        """How many rows of each table of what changes are in one and not in the other."""
        for table in _CHANGING:
            yield table, self._differing(table, "true")

    def differing_events(self, after: int, through: int) -> int:
        """The same of events past one position, up to another. To be asked for a SLICE at a time."""
        return self._differing(_EVENTS, f"position > {after} AND position <= {through}")

    def differing_terms(self, byte: int, through: int) -> int:
        """The same of the terms of movements up to a position. To be asked for one first byte at a time."""
        first, last = f"x'{byte:02x}'", f"x'{byte:02x}{'ff' * TERM_BYTES}'"
        return self._differing(_TERMS, f"term BETWEEN {first} AND {last} AND position <= {through}")

    def _differing(self, table: str, where: str) -> int:
        rows = f"SELECT * FROM {{}}.{table} WHERE {where}"
        both = f"SELECT count(*) FROM ({rows} EXCEPT {rows})"
        sides = ("main", "found"), ("found", "main")
        try:
            return sum(int(self._connection.execute(both.format(*pair)).fetchone()[0]) for pair in sides)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, why: object) -> ViewsUnavailable:
        return ViewsUnavailable(f"{self._path} can't be read: {why}")

    def close(self) -> None:
        self._connection.close()

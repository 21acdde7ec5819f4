"""The views' file, to be compared by another process, also while a bank is served from it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from openbank.sqlite_file import read_only
from openbank.views.port import ViewsUnavailable
from openbank.views.sqlite.schema import FILE, PROJECTED, checkpoint, strange_in


class SqliteViewsFile:
    """The views as they are at one moment, for another process to compare; nothing of them is written."""

    def __init__(self, directory: Path, rebuilt: Path) -> None:
        """`rebuilt` is the directory of those to compare them with. Raises ViewsUnavailable for a file that is none of
        this format's, or cannot be read.
        """
        path = (directory / FILE).resolve()
        try:
            self._connection = read_only(path)
        except (sqlite3.Error, OSError) as error:
            raise ViewsUnavailable(f"{path} can't be read: {error}") from error
        try:
            strange = strange_in(self._connection)
            self._connection.execute("ATTACH ? AS rebuilt", (str(rebuilt / FILE),))
            self._connection.execute("BEGIN")
            self.log, self.position = checkpoint(self._connection)
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
            for table in PROJECTED
        }
        return {table: count for table, count in found.items() if count}

    def close(self) -> None:
        self._connection.close()

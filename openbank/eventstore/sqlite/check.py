"""The checks of the log at a start, before SQLite may write to it.

SQLite opens a log whose WAL was cut or removed, or that is a torn copy, as if nothing were wrong. A clean stop leaves a
mark of how far the log had come; a log can only grow, so the mark holds until the next one. What came after the mark is
read, and looked up through each index.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from openbank.eventstore.errors import StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.sqlite.epoch import check_wal
from openbank.eventstore.sqlite.indexes import fault_in_indexes, fault_in_tail
from openbank.eventstore.sqlite.location import find_log, how_to_restore
from openbank.eventstore.sqlite.mark import Mark, read_mark
from openbank.eventstore.sqlite.reader import FileReader
from openbank.eventstore.sqlite.restore import finish_restore
from openbank.eventstore.sqlite.rows import checksum
from openbank.eventstore.sqlite.schema import FILE, check_format, check_size, lock, open_log
from openbank.sqlite_file import has_wal, read_unused
from openbank.sqlite_wal import SYNCHRONOUS_FULL, WalFiles, is_locked, set_pragma

TAIL_EVENTS_MAX = 10_000
"""The most events at the end of the log that a start reads and checks: about a tenth of a second."""
STRUCTURE_PAGES_MAX = 250_000
"""Pages (4 KiB each) of a log whose structure is checked after a stop that was not clean: 0.6 s of processor time per
million events, three seconds at the most. A larger log is left to `openbank verify`."""

_log = logging.getLogger(__name__)


def check_start(directory: Path, path: Path, *, losses: bool = True) -> None:
    """Checks that the WAL beside the log at `path` belongs to it, that the log has not become shorter, and that newer
    events are whole.

    Changes nothing. Without `losses`, a log that has lost events is not refused. Raises StoreRefused.
    """
    restore = how_to_restore(directory)
    check_wal(path)
    try:
        if not has_wal(path):
            check_size(path)
        with closing(read_unused(path)) as connection:
            check_format(connection, path)
            _Check(connection, path).run(read_mark(directory), losses)
    except StoreDamaged as error:
        raise StoreRefused(f"{path} is damaged: {error}; {restore}") from error
    except (sqlite3.Error, StoreUnavailable) as error:
        if isinstance(error, sqlite3.Error) and is_locked(error):
            raise StoreRefused(f"{path} can't be read: another program has locked it") from error
        raise StoreRefused(f"{path} can't be read: {error}; if the disk works, {restore}") from error
    except OSError as error:
        raise StoreRefused(f"{path} can't be read: {error}") from error


class _Check:
    """The position of the log's end once SQLite has replayed its WAL."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._reader = FileReader(connection)
        ((self._store_id,),) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'")
        ((self._end,),) = connection.execute("SELECT coalesce(max(position), 0) FROM events")

    def run(self, mark: Mark | None, losses: bool) -> None:
        if mark is None or mark.store_id != self._store_id or not losses:
            # The mark belongs to the log that was here before a backup was restored.
            mark = Mark(self._store_id, 0, 0)
        if mark.position > self._end:
            raise StoreRefused(
                f"{self._path} ends at position {self._end}, and had come to {mark.position} when the bank was last"
                f" stopped: {mark.position - self._end} events are lost; {what_to_do(self._path.parent)}"
            )
        self._check_tail(mark)
        if mark.position < self._end or has_wal(self._path):
            self._check_structure()

    def _check_tail(self, mark: Mark) -> None:
        if mark.position:
            marked = self._reader.log(mark.position - 1, 1, mark.position)
            if [checksum(event) for event in marked] != [mark.checksum]:
                raise StoreDamaged(f"the event at position {mark.position} is not that of the last stop")
        begin = at = max(mark.position, self._end - TAIL_EVENTS_MAX)
        while at < self._end:
            events = self._reader.log(at, 1_000, self._end)
            if not events:
                raise StoreDamaged(f"the log has no event at position {at + 1}")
            at = events[-1].position
        fault = fault_in_tail(self._connection, begin, self._end)
        if fault:
            raise StoreDamaged(fault)

    def _check_structure(self) -> None:
        ((pages,),) = self._connection.execute("PRAGMA page_count")
        if pages > STRUCTURE_PAGES_MAX:
            values = {"pages": pages, "events_checked": TAIL_EVENTS_MAX}
            _log.warning("log is too large to be checked at the start: run openbank verify", extra={"values": values})
            return
        ((structure,),) = self._connection.execute("PRAGMA quick_check(1)")
        fault = fault_in_indexes(self._connection) if structure == "ok" else structure
        if fault:
            raise StoreDamaged(fault)


def what_to_do(directory: Path) -> str:
    accept = f"openbank accept-loss --data {directory}"
    return f"{how_to_restore(directory)}; or continue with what is left of the log: {accept}"


def accept_loss(directory: Path) -> int:
    """Gives what is left of the log a new store id, and returns the position of its end.

    The mark and the views then belong to another log, and views are rebuilt. Tokens stay valid if this log has the
    events that they name. Raises FileNotFoundError without a log; StoreRefused for a log of another version, and for a
    damaged one, which the next start would refuse again.
    """
    finish_restore(directory)
    path = find_log(directory)
    if path is None:
        raise FileNotFoundError(f"{directory / FILE} is not there")
    files = WalFiles(path, lock(path))
    try:
        check_start(directory, path, losses=False)
        with closing(open_log(files, None, copying=False)) as connection:
            set_pragma(connection, "synchronous", SYNCHRONOUS_FULL)
            connection.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", (secrets.token_hex(16),))
            return int(connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])
    finally:
        files.close()

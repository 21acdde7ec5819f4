"""What a start holds the log against, so that a loss is told and not served.

SQLite opens a log whose WAL was cut or removed without a word, as it was some time before. A clean stop leaves a mark:
how far the log had come, in a file of its own, which a loss in the log leaves alone. A log can only grow, so the mark
holds until the next one.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from openbank.disk import replace
from openbank.eventstore.port import LogPosition, StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.sqlite.reader import Reader
from openbank.eventstore.sqlite.rows import checksum
from openbank.eventstore.sqlite.schema import FILE, lock, open_log

MARK = "clean-stop"
TAIL_EVENTS_MAX = 10_000
"""Events at the end of the log that a start reads and checks, at the most: about a tenth of a second."""
WHAT_TO_DO = "put back a backup, or go on with what is left of the log: openbank accept-loss"

_log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """The end of the log when it was last closed, and the checksum of the event there."""

    store_id: str
    position: int
    checksum: int


def check_start(directory: Path, store_id: str, head: LogPosition, reader: Reader) -> None:
    """The log goes as far as it did, and what came after is whole. Raises StoreRefused."""
    mark = read_mark(directory)
    if mark is None or mark.store_id != store_id:
        # Of the log that was here before a backup was put back.
        mark = Mark(store_id, 0, 0)
    if mark.position > head.position:
        raise StoreRefused(
            f"{directory / FILE} ends at position {head.position}, and had come to {mark.position} when the bank was"
            f" last stopped: {mark.position - head.position} events are lost; {WHAT_TO_DO}"
        )
    try:
        _check_tail(mark, head, reader)
    except StoreDamaged as error:
        raise StoreRefused(f"{directory / FILE} is damaged: {error}; put back a backup") from error


def _check_tail(mark: Mark, head: LogPosition, reader: Reader) -> None:
    if mark.position:
        marked = reader.log(mark.position - 1, 1, mark.position)
        if [checksum(event) for event in marked] != [mark.checksum]:
            raise StoreDamaged(f"the event at position {mark.position} is not that of the last stop")
    at = max(mark.position, head.position - TAIL_EVENTS_MAX)
    while at < head.position:
        events = reader.log(at, 1_000, head.position)
        if not events:
            raise StoreDamaged(f"the log has no event at position {at + 1}")
        at = events[-1].position


def note_stop(directory: Path, store_id: str, head: LogPosition, reader: Reader) -> None:
    """To be called once all of the log is durable. A mark that cannot be made is only told: the one before holds."""
    known = read_mark(directory)
    if not head.position or (known and (known.store_id, known.position) == (store_id, head.position)):
        return
    try:
        for last in reader.log(head.position - 1, 1, head.position):
            mark = Mark(store_id, head.position, checksum(last))
            replace(directory / MARK, json.dumps(mark._asdict()) + "\n", directory / f"{MARK}.unfinished")
    except (OSError, StoreDamaged, StoreUnavailable) as error:
        _log.warning("clean stop cannot be noted", extra={"values": {"reason": str(error)}})


def read_mark(directory: Path) -> Mark | None:
    """None where there is none, or none that can be read."""
    try:
        fields: Mapping[str, Any] = json.loads((directory / MARK).read_text())
        return Mark(str(fields["store_id"]), int(fields["position"]), int(fields["checksum"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("clean stop cannot be read", extra={"values": {"reason": repr(error)}})
        return None


def accept_loss(directory: Path) -> int:
    """Makes of what is left a log of its own, with a new store id: mark and views are then another log's, and start
    over; tokens are good as far as this log has the events that they name. The position where it ends.

    Raises StoreRefused for a log that is none of this version's.
    """
    path = (directory / FILE).resolve()
    held = lock(path)
    try:
        with closing(open_log(path, None, copying=False)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("UPDATE meta SET value = ? WHERE name = 'store_id'", (secrets.token_hex(16),))
            return int(connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])
    finally:
        os.close(held)

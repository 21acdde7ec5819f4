"""The end of the log when it was last closed, in a separate file, so that a loss in the log does not affect it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from openbank.disk import replace
from openbank.eventstore.errors import StoreDamaged, StoreUnavailable
from openbank.eventstore.port import LogPosition
from openbank.eventstore.sqlite.reader import FileReader
from openbank.eventstore.sqlite.rows import checksum

MARK = "clean-stop"

_log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """The end of the log when it was last closed, and the checksum of the event there."""

    store_id: str
    position: int
    checksum: int


def note_stop(directory: Path, store_id: str, head: LogPosition, reader: FileReader) -> None:
    """Call once all of the log is durable. A failure is only logged: the previous mark stays valid."""
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
    """None if there is no mark, or it cannot be read."""
    try:
        fields: Mapping[str, Any] = json.loads((directory / MARK).read_text())
        return Mark(str(fields["store_id"]), int(fields["position"]), int(fields["checksum"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("clean stop cannot be read", extra={"values": {"reason": repr(error)}})
        return None

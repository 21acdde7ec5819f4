"""What a bank's files hold, read beside the server: the benchmarks believe the store, not the answers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from openbank.codec import events as codec
from openbank.domain.account_events import MoneyDeposited
from openbank.domain.money import Currency, Money
from openbank.eventstore.sqlite import FILE as EVENTS
from openbank.views.sqlite import FILE as VIEWS

PROJECTED_SECONDS_MAX = 1_200

_NOTHING = Money(Currency("USD", 2), 0)
_DEPOSITED, _ = codec.encode(MoneyDeposited(_NOTHING, "", _NOTHING))


def head(directory: Path) -> int:
    """How many events the log has."""
    return _ask(directory / EVENTS, "SELECT coalesce(max(position), 0) FROM events")


def deposits(directory: Path) -> int:
    """How many deposits the log has."""
    count = "SELECT count(*) FROM events JOIN types ON types.key = events.type WHERE types.name = ?"
    return _ask(directory / EVENTS, count, _DEPOSITED)


def size(directory: Path) -> int:
    """What the log and its indexes take, in bytes."""
    pages = _ask(directory / EVENTS, "PRAGMA page_count")
    return pages * _ask(directory / EVENTS, "PRAGMA page_size")


def projected(directory: Path) -> int:
    """How far the views have come."""
    return _ask(directory / VIEWS, "SELECT coalesce(max(position), 0) FROM checkpoint")


def wait_until_projected(directory: Path, position: int) -> None:
    end = time.perf_counter() + PROJECTED_SECONDS_MAX
    while projected(directory) < position:
        if time.perf_counter() > end:
            raise SystemExit(f"the views are not there within {PROJECTED_SECONDS_MAX} seconds")
        time.sleep(0.05)


def _ask(file: Path, question: str, *values: object) -> int:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute(question, values).fetchone()[0])

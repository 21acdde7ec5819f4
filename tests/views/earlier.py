"""Views as earlier versions left them, made from those of this one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pymongo.database import Database

# The last format without references and movements, from the current one.
_TO_FORMAT_6 = """
BEGIN IMMEDIATE;
DROP INDEX IF EXISTS movements_by_account;
DROP TABLE movement_terms;
ALTER TABLE accounts DROP COLUMN time;
ALTER TABLE accounts DROP COLUMN entries;
ALTER TABLE accounts DROP COLUMN credits;
ALTER TABLE account_events DROP COLUMN moved;
ALTER TABLE account_events DROP COLUMN time;
ALTER TABLE account_events DROP COLUMN entries;
ALTER TABLE account_events DROP COLUMN credits;
ALTER TABLE holds DROP COLUMN tags;
ALTER TABLE transfers DROP COLUMN tags;
DROP TABLE IF EXISTS rebuild;
PRAGMA user_version = 6;
COMMIT;
"""
# The oldest format that is read, from that one: before freezes, holds and transfers, and with hyphens that count.
_TO_FORMAT_3 = """
BEGIN IMMEDIATE;
ALTER TABLE accounts DROP COLUMN available;
ALTER TABLE accounts DROP COLUMN freeze_reason;
ALTER TABLE accounts DROP COLUMN close_time;
ALTER TABLE accounts DROP COLUMN overdraft_limit;
ALTER TABLE accounts DROP COLUMN spending;
UPDATE accounts SET number_key = upper(replace(account_number, ' ', ''));
DROP TABLE holds;
DROP TABLE transfers;
DROP TABLE reversals;
PRAGMA user_version = 3;
COMMIT;
"""


def to_format_6(path: Path) -> None:
    """Views in SQLite, which no process has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_TO_FORMAT_6)


def to_oldest_format(path: Path) -> None:
    """The same, as the earliest version left them whose views are read."""
    to_format_6(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_TO_FORMAT_3)


def to_format_3(database: Database[dict[str, Any]], generation: int) -> None:
    """Views in MongoDB, of the same age."""
    totals = {"time": 1, "entries": 1, "credits": 1, "moves": 1}
    for name in ("openbank_accounts", "openbank_account_events"):
        database[f"{name}_{generation}"].update_many({}, {"$unset": totals})
    database[f"openbank_movement_terms_{generation}"].drop()
    database["openbank_views"].update_one({}, {"$set": {"format": 3}, "$unset": {"rebuild": 1}})

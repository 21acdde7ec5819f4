"""The record of what is quarantined: one row beside the events, so that every copy of the file has it."""

from __future__ import annotations

import sqlite3
import zlib

from openbank.eventstore.errors import StoreDamaged, StoreUnavailable
from openbank.eventstore.port import KeptRecord

# Added without a new format: an older version ignores the table, and believes what it believed before.
TABLE = """
CREATE TABLE IF NOT EXISTS quarantine (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    record BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
"""
_SAVE = """
INSERT INTO quarantine SELECT 1, ?1 + 1, ?2, ?3 WHERE ?1 = coalesce((SELECT version FROM quarantine), 0)
ON CONFLICT (one) DO UPDATE SET version = excluded.version, record = excluded.record, checksum = excluded.checksum
"""


def load(connection: sqlite3.Connection) -> KeptRecord:
    """Raises StoreUnavailable, StoreDamaged."""
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'quarantine'").fetchone()[0]:
            # The file of an older version, opened for reading only.
            return KeptRecord()
        rows = connection.execute("SELECT record, version, checksum FROM quarantine").fetchall()
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from error
    for record, version, checksum in rows:
        if checksum != zlib.crc32(record):
            raise StoreDamaged("the log's record of what is quarantined is damaged; restore a backup: openbank restore")
        return KeptRecord(record, version)
    return KeptRecord()


def save(connection: sqlite3.Connection, data: bytes, version: int) -> int | None:
    """See `EventStore.save_quarantine`; not durable yet. Raises StoreUnavailable."""
    try:
        changed = connection.execute(_SAVE, (version, data, zlib.crc32(data))).rowcount
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from error
    return version + 1 if changed > 0 else None

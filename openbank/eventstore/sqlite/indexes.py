"""Checks the log's indexes against its table: in a torn copy, each may be from another moment."""

from __future__ import annotations

import sqlite3

# Each lookup reads an index alone: all it asks for is in the index.
_TAIL = """
SELECT position FROM events AS event WHERE position > ?1 AND (
    NOT EXISTS (
        SELECT 1 FROM events INDEXED BY events_stream
        WHERE stream = event.stream AND revision = event.revision AND position = event.position
    )
    OR request_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM events INDEXED BY events_request
        WHERE stream = event.stream AND request_id = event.request_id AND position = event.position
    )
    OR NOT EXISTS (
        SELECT 1 FROM streams INDEXED BY sqlite_autoindex_streams_1
        WHERE name = (SELECT name FROM streams WHERE key = event.stream) AND key = event.stream
    )
    OR ?2 < (
        SELECT position FROM events INDEXED BY events_stream
        WHERE stream = event.stream ORDER BY revision DESC LIMIT 1
    )
) LIMIT 1
"""
_INDEXES = (
    ("events_stream", "events", "position", ""),
    ("events_request", "events", "position", "WHERE request_id IS NOT NULL"),
    ("sqlite_autoindex_streams_1", "streams", "key", ""),
)


def fault_in_tail(connection: sqlite3.Connection, after: int, end: int) -> str | None:
    """What is wrong with the index entries of the events past `after`, in a log that ends at `end`."""
    for (position,) in connection.execute(_TAIL, (after, end)):
        return f"an index does not have the event at position {position}, or has events after the end"
    return None


def fault_in_indexes(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the indexes as a whole: each has as many entries as the table has rows, for the same keys.

    It takes about 0.2 microseconds per event. `PRAGMA integrity_check` checks the content of each entry.
    """
    for index, table, key, where in _INDEXES:
        select = f"SELECT count(*), sum({key}) FROM {table} {{}} {where}"
        (rows,) = connection.execute(select.format("NOT INDEXED"))
        (entries,) = connection.execute(select.format(f"INDEXED BY {index}"))
        if entries != rows:
            return f"the index {index} has {entries[0]:,} entries, not those of the {rows[0]:,} rows of {table}"
    return None

"""A bank's long log in the stand-in's file, written past the stand-in: by appends it would take minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import history
from benchmarks.messages import account_id
from openbank.eventstore.eventstoredb.events import JSON, metadata, payload, uuid_text
from openbank.eventstore.eventstoredb.snapshots import STREAM_PREFIX, event_of
from openbank.eventstore.port import SNAPSHOT_EVENTS, NewEvent
from openbank.eventstore.streams import account_stream
from tests.stand_ins.eventstoredb.log import Record
from tests.stand_ins.eventstoredb.store import SQLiteStore

_AT_A_TIME = 10_000
_START = 100
"""A real log begins with the server's own events: none of the bank's is at position 0."""


def write(file: Path, accounts: Sequence[int]) -> int:
    """A log with so many events of each account, one account after another, with the snapshots that a bank would have
    kept; the position of the last event."""
    store = SQLiteStore(file)
    records: list[Record] = []
    position = last = _START
    for record in _records(accounts):
        placed = record._replace(position=position)
        records.append(placed)
        position = placed.end
        if not placed.stream.startswith(STREAM_PREFIX):
            last = placed.position
        if len(records) == _AT_A_TIME:
            store.save(records)
            records = []
    store.save(records)
    store.close()
    return last


def _records(accounts: Sequence[int]) -> Iterator[Record]:
    created = time.time_ns() // 100
    for account, count in enumerate(accounts):
        stream = account_stream(account_id(account))
        for number in range(count):
            event = history.event(account, number + 1)
            yield _record(stream, number, event, created)
            if (number + 1) % SNAPSHOT_EVENTS == 0:
                kept = event_of(history.snapshot(account, number + 1, event.id))
                yield _record(STREAM_PREFIX + stream, (number + 1) // SNAPSHOT_EVENTS - 1, kept, created)


def _record(stream: str, number: int, event: NewEvent, created: int) -> Record:
    content_type, data = payload(event.type, event.data)
    about = metadata(event.metadata)
    return Record(0, stream, number, uuid_text(event.id), event.type, content_type == JSON, created, data, about)

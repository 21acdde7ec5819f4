"""The place of a sink in this log: the recorded one or, if the log has been replaced, one that is safely before it."""

from __future__ import annotations

import logging

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.places import holds
from openbank.eventstore.port import BEGINNING, EventStore, LogPosition
from openbank.sinks.port import SinkRecord

MARGIN_MICROSECONDS = 3_600_000_000
"""If a log does not have the sink's place, the sink continues this long before the last known time: clocks differ."""

LOOKS_FOR_PLACE = "its place is being looked for in this log"
"""The trouble of a sink until its sender has found the place."""

_log = logging.getLogger(__name__)


def new_record(store: EventStore, at: LogPosition, now: int) -> SinkRecord:
    return SinkRecord(store.bank_id, store.store_id, at, now)


def check_bank(store: EventStore, sink: str, record: SinkRecord) -> None:
    """Raises StoreRefused for another bank's."""
    if record.bank_id != store.bank_id:
        raise StoreRefused(
            f"the record of the sink {sink} belongs to the bank {record.bank_id}, not to {store.bank_id}"
        )


async def is_in_this_log(store: EventStore, record: SinkRecord) -> bool:
    return record.store_id == store.store_id and await holds(store, record.place)


async def in_this_log(store: EventStore, sink: str, record: SinkRecord) -> SinkRecord:
    """The record with its place in this log, unchanged if its place is one of this log.

    A copy of the log has the place by stream and revision. A log restored from an older backup does not have the place.
    The sink already has the older events of that log, so only events recorded after its last delivery can be new to it.
    That place is found by time, which may read the log up to there. Raises StoreUnavailable.
    """
    if await is_in_this_log(store, record):
        return record
    at = await _locate(store, record.place)
    if at is None:
        since = record.position_time - MARGIN_MICROSECONDS
        at = await store.position_at(since)
        values = {"sink": sink, "position": record.place.position, "goes_on_at": at.position}
        _log.warning("sink's place is not in this log", extra={"values": values})
    return record._replace(store_id=store.store_id, place=at)


async def _locate(store: EventStore, at: LogPosition) -> LogPosition | None:
    return await store.locate(at.stream, at.revision) if at.stream else BEGINNING

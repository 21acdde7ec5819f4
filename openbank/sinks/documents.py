"""A sink's record as a readable document, the same in every adapter."""

from __future__ import annotations

from typing import Any

from openbank.eventstore.port import LogPosition
from openbank.sinks.port import Parked, SinkRecord, Trouble

RecordDocument = dict[str, Any]


def to_document(record: SinkRecord) -> RecordDocument:
    place = record.place
    return {
        "bank_id": record.bank_id,
        "store_id": record.store_id,
        "position": place.position,
        "stream": place.stream,
        "revision": place.revision,
        "position_time": record.position_time,
        "parked": [{"stream": stream, **parked._asdict()} for stream, parked in record.parked.items()],
        "trouble": record.trouble._asdict() if record.trouble else None,
    }


def from_document(document: RecordDocument) -> SinkRecord:
    trouble = document["trouble"]
    return SinkRecord(
        document["bank_id"],
        document["store_id"],
        LogPosition(document["position"], document["stream"], document["revision"]),
        document["position_time"],
        {
            parked["stream"]: Parked(parked["revision"], parked["reason"], parked["time"], parked["retrying"])
            for parked in document["parked"]
        },
        # Earlier versions did not keep the event.
        Trouble(trouble["reason"], trouble["since"], trouble.get("aggregate", ""), trouble.get("revision", 0))
        if trouble
        else None,
    )

"""Documents of accounts' events, and of the terms that find movements."""

from __future__ import annotations

from collections.abc import Iterator

from bson import Int64
from pymongo import UpdateOne

from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.eventstore.streams import account_stream
from openbank.mongodb.link import Document
from openbank.views.changes import AccountEventRecorded
from openbank.views.mongo.documents import insert_once, known_totals, totals_values
from openbank.views.terms import terms
from openbank.views.totals import Totals


def insert_event(change: AccountEventRecorded, totals: Totals) -> UpdateOne:
    event = change.event
    metadata = event.metadata
    return insert_once(
        _name(change),
        {
            "account_id": change.account_id,
            "revision": Int64(event.revision),
            "position": Int64(event.position),
            "event_id": event.id,
            "type": event.type,
            "data": event.data,
            "record_time": Int64(metadata.record_time),
            "request_id": metadata.request_id,
            "request_hash": metadata.request_hash,
            "correlation_id": metadata.correlation_id,
            "causation_id": metadata.causation_id,
            "owner_id": metadata.owner_id,
            "part": metadata.part,
            "parts": metadata.parts,
            **({"actor": metadata.actor} if metadata.actor else {}),
            "moves": change.moved != 0,
            **totals_values(totals),
        },
    )


def event(document: Document) -> RecordedEvent:
    metadata = Metadata(
        int(document["record_time"]),
        document["request_id"],
        document["request_hash"],
        document["correlation_id"],
        document["causation_id"],
        document["owner_id"],
        document["part"],
        document["parts"],
        document.get("actor", ""),
    )
    return RecordedEvent(
        int(document["position"]),
        account_stream(document["account_id"]),
        int(document["revision"]),
        document["event_id"],
        document["type"],
        document["data"],
        metadata,
    )


def counted(document: Document) -> tuple[RecordedEvent, Totals]:
    """An event with the totals after it."""
    return event(document), known_totals(document)


def whole(document: Document) -> tuple[RecordedEvent, Totals, bool]:
    """The same, and whether it is a movement."""
    return *counted(document), document["moves"]


def insert_terms(change: AccountEventRecorded) -> Iterator[UpdateOne]:
    """The id is the term and then the position, so that its index finds a range of positions."""
    for term in terms(change.account_id, change.tags):
        position = change.event.position
        yield insert_once(term_name(term, position), {"position": Int64(position), "event": _name(change)})


def terms_before(term: bytes, position: int) -> Document:
    """The ids of a term's movements before a position."""
    return {"$gte": term_name(term, 0), "$lt": term_name(term, position)}


def term_name(term: bytes, position: int) -> str:
    return f"{term.hex()}/{position:019d}"


def _name(change: AccountEventRecorded) -> str:
    return f"{change.account_id}/{change.event.revision}"

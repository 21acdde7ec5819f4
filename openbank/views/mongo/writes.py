"""The collections with their indexes, and what a batch of changes writes to which of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import BulkWriteError

from openbank.mongodb.link import Documents
from openbank.views.changes import Grouped
from openbank.views.mongo import documents, event_documents, hold_documents
from openbank.views.totals import Added

PERSONS = "openbank_persons"
ACCOUNTS = "openbank_accounts"
HOLDS = "openbank_holds"
EVENTS = "openbank_account_events"
TERMS = "openbank_movement_terms"
TRANSFERS = "openbank_transfers"
REVERSALS = "openbank_reversals"
MINUTES = "openbank_minutes"
"""Collections, each with the generation behind its name: `openbank_accounts_3`."""
INDEXES: dict[str, Sequence[dict[str, int]]] = {
    PERSONS: ({"position": ASCENDING},),
    ACCOUNTS: ({"owner_id": ASCENDING, "position": ASCENDING}, {"number_key": ASCENDING, "position": ASCENDING}),
    HOLDS: (
        {"account_id": ASCENDING, "state": ASCENDING, "position": DESCENDING},
        {"state": ASCENDING, "expire_time": ASCENDING, "position": ASCENDING},
    ),
    EVENTS: (
        {"account_id": ASCENDING, "revision": DESCENDING},
        {"account_id": ASCENDING, "request_id": ASCENDING},
        {"account_id": ASCENDING, "time": DESCENDING, "revision": DESCENDING},
        {"account_id": ASCENDING, "moves": ASCENDING, "position": DESCENDING},
    ),
    TERMS: (),
    TRANSFERS: (
        {"state": ASCENDING, "position": ASCENDING},
        {"accounts": ASCENDING, "state": ASCENDING, "position": ASCENDING},
    ),
    REVERSALS: (),
    MINUTES: (),
}

TAGGED = 20
"""Movements whose terms are made in one turn of the event loop: there may be fifty of each."""
_DUPLICATE_KEY = 11000


def writes_of(grouped: Grouped, added: Added) -> Iterator[tuple[str, Sequence[UpdateOne]]]:
    """What to write to which collection, one after the other."""
    totals = {(change.account_id, after.revision): after for change, after in added}
    yield MINUTES, list(map(documents.insert_minute, grouped.minutes))
    yield EVENTS, [event_documents.insert_event(change, after) for change, after in added]
    for start in range(0, len(added), TAGGED):
        some = added[start : start + TAGGED]
        yield TERMS, [write for change, _ in some for write in event_documents.insert_terms(change)]
    yield PERSONS, list(map(documents.insert_person, grouped.persons))
    yield ACCOUNTS, list(map(documents.insert_account, grouped.accounts))
    yield HOLDS, list(map(hold_documents.insert_hold, grouped.holds))
    yield HOLDS, list(map(hold_documents.update_hold, grouped.hold_updates))
    yield REVERSALS, list(map(documents.insert_reversal, grouped.reversals))
    yield TRANSFERS, list(map(documents.insert_transfer, grouped.transfers))
    for person_updates in grouped.person_updates:
        yield PERSONS, list(map(documents.update_person, person_updates))
    for account_updates in grouped.account_updates:
        updates = [(one, totals.get((one.account_id, one.revision))) for one in account_updates]
        yield ACCOUNTS, [documents.update_account(one, after) for one, after in updates]
    yield TRANSFERS, list(map(documents.update_transfer, grouped.transfers))


async def write_bulk(collection: Documents, writes: Sequence[UpdateOne]) -> None:
    try:
        await collection.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        # Of two instances that insert the same document at once, one may get a duplicate key error.
        details = error.details
        if details["writeConcernErrors"] or any(one["code"] != _DUPLICATE_KEY for one in details["writeErrors"]):
            raise

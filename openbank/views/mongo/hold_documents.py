"""Documents of holds, as `documents` has the others."""

from __future__ import annotations

from bson import Int64
from pymongo import UpdateOne

from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.money import Currency, Money
from openbank.domain.versioned import Versioned
from openbank.mongodb.link import Document
from openbank.views.changes import HoldInserted, HoldUpdated
from openbank.views.mongo.documents import insert_once, set_newer, version_of
from openbank.views.port import DueHold, Listed
from openbank.views.tags import tags_of, tags_text


def insert_hold(change: HoldInserted) -> UpdateOne:
    hold, revision, create_time, update_time = change.hold
    return insert_once(
        hold.hold_id,
        {
            "position": Int64(change.position),
            "account_id": hold.account_id,
            "currency": hold.amount.currency.code,
            "exponent": hold.amount.currency.exponent,
            "amount": Int64(hold.amount.minor),
            "remaining": Int64(hold.remaining.minor),
            "released": Int64(hold.released.minor),
            "state": hold.state.value,
            "description": hold.description,
            "expire_time": Int64(hold.expire_time),
            "tags": tags_text(hold.tags),
            "revision": Int64(revision),
            "create_time": Int64(create_time),
            "update_time": Int64(update_time),
        },
    )


def update_hold(change: HoldUpdated) -> UpdateOne:
    hold_id, state, remaining, released = change.change
    values: Document = {
        "update_time": Int64(change.update_time),
        "state": state.value,
        "remaining": Int64(remaining.minor),
        "released": Int64(released.minor),
    }
    return set_newer(hold_id, change.revision, values)


def hold(document: Document) -> Listed[HoldRecord]:
    currency = Currency.of(document["currency"], document["exponent"])
    state = HoldRecord(
        document["_id"],
        document["account_id"],
        Money(currency, int(document["amount"])),
        Money(currency, int(document["remaining"])),
        Money(currency, int(document["released"])),
        HoldState(document["state"]),
        document["description"],
        int(document["expire_time"]),
        # What earlier versions wrote lacks what no hold had then.
        tags_of(document.get("tags", "")),
    )
    return Listed(int(document["position"]), Versioned(state, *version_of(document)))


def due_hold(document: Document) -> DueHold:
    return DueHold(int(document["expire_time"]), int(document["position"]), document["account_id"])

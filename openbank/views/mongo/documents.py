"""Documents of the views: written from changes, read back as what queries answer.

Positions, revisions, times and money are 64-bit integers whatever their size, as readers in other languages need it.
"""

from __future__ import annotations

from datetime import date

from bson import Int64
from pymongo import UpdateOne

from openbank.domain.account import Account
from openbank.domain.fields import account_number_key
from openbank.domain.money import Currency, Money
from openbank.domain.person import Address, Gender, Person
from openbank.domain.transfers import Transfer
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition
from openbank.mongodb.link import Document
from openbank.views.changes import (
    AccountInserted,
    AccountUpdated,
    MinuteReached,
    MovementReversed,
    PersonInserted,
    PersonUpdated,
    TransferUpdated,
)
from openbank.views.governed import limits_of, limits_text, seen_controls
from openbank.views.port import Listed, ListedTransfer, account_state, transfer_state
from openbank.views.tags import tags_of, tags_text
from openbank.views.totals import Totals, stored_credits, totals_of_opening


def insert_person(change: PersonInserted) -> UpdateOne:
    person, revision, create_time, update_time = change.person
    return insert_once(
        person.person_id,
        {
            "position": Int64(change.position),
            "first_name": person.first_name,
            "last_name": person.last_name,
            "nationality": person.nationality,
            "gender": person.gender.value,
            "date_of_birth": person.date_of_birth.isoformat(),
            "address": _address(person.address),
            "email": person.email,
            "revision": Int64(revision),
            "create_time": Int64(create_time),
            "update_time": Int64(update_time),
        },
    )


def update_person(change: PersonUpdated) -> UpdateOne:
    values: Document = {"update_time": Int64(change.update_time)}
    if change.address is not None:
        values["address"] = _address(change.address)
    return set_newer(change.person_id, change.revision, values)


def person(document: Document) -> Listed[Person]:
    state = Person(
        document["_id"],
        document["first_name"],
        document["last_name"],
        document["nationality"],
        Gender(document["gender"]),
        date.fromisoformat(document["date_of_birth"]),
        _address_of(document["address"]),
        document["email"],
    )
    return Listed(int(document["position"]), Versioned(state, *version_of(document)))


def insert_account(change: AccountInserted) -> UpdateOne:
    account, revision, create_time, update_time = change.account
    return insert_once(
        account.account_id,
        {
            "position": Int64(change.position),
            "owner_id": account.owner_id,
            "account_number": account.account_number,
            "number_key": account_number_key(account.account_number),
            "currency": account.currency.code,
            "exponent": account.currency.exponent,
            "balance": Int64(account.balance.minor),
            "available": Int64(account.available.minor),
            "state": account.state.value,
            "freeze_reason": account.controls.freeze_reason,
            "close_time": _time(account.controls.close_time),
            "overdraft_limit": Int64(account.controls.overdraft_limit),
            "spending": limits_text(account.controls.spending),
            "revision": Int64(revision),
            "create_time": Int64(create_time),
            "update_time": Int64(update_time),
            **totals_values(totals_of_opening(change.account)),
        },
    )


def update_account(change: AccountUpdated, totals: Totals | None) -> UpdateOne:
    """None are the totals of an event that was there."""
    values: Document = {"update_time": Int64(change.update_time)}
    if totals is not None:
        values |= totals_values(totals)
    if change.balance is not None:
        values["balance"] = Int64(change.balance.minor)
    if change.available is not None:
        values["available"] = Int64(change.available.minor)
    if change.state is not None:
        values["state"] = change.state.value
    if change.freeze_reason is not None:
        values["freeze_reason"] = change.freeze_reason
    if change.close_time is not None:
        values["close_time"] = _time(change.close_time)
    if change.overdraft_limit is not None:
        values["overdraft_limit"] = Int64(change.overdraft_limit.minor)
    if change.spending is not None:
        values["spending"] = limits_text(change.spending)
    return set_newer(change.account_id, change.revision, values)


def account(document: Document) -> Listed[Account]:
    balance = Money(Currency.of(document["currency"], document["exponent"]), int(document["balance"]))
    version = version_of(document)
    # What earlier versions wrote lacks what no account had then.
    close_time = document.get("close_time")
    controls = seen_controls(
        balance.minor,
        int(document.get("available", balance.minor)),
        account_state(document["state"], document["_id"], version[0]),
        document.get("freeze_reason", ""),
        None if close_time is None else int(close_time),
        int(document.get("overdraft_limit", 0)),
        limits_of(document.get("spending", "")),
    )
    state = Account(document["_id"], document["owner_id"], document["account_number"], balance, controls)
    return Listed(int(document["position"]), Versioned(state, *version))


def insert_transfer(change: TransferUpdated) -> UpdateOne:
    """What `update_transfer` then sets values of, whichever of its events comes first."""
    return insert_once(change.transfer_id, {"state": 0})


def update_transfer(change: TransferUpdated) -> UpdateOne:
    """Each event sets fields of its own, so they may come in any order, and again."""
    values: Document = {}
    if change.received_revision:
        values["received_revision"] = Int64(change.received_revision)
    if change.refusal:
        values["refusal"] = change.refusal
    if change.reversed_by:
        values["reversed_by"] = change.reversed_by
    if change.sent is not None:
        position, revision, source, destination, amount, description, hold_id, tags, reverses, time = change.sent
        values |= {
            "position": Int64(position),
            "sent_revision": Int64(revision),
            "source": source,
            "destination": destination,
            "accounts": [source, destination],
            "currency": amount.currency.code,
            "exponent": amount.currency.exponent,
            "amount": Int64(amount.minor),
            "description": description,
            "hold_id": hold_id,
            "tags": tags_text(tags),
            "reverses": reverses,
            "create_time": Int64(time),
        }
    latest = {"state": change.state.value if change.state else 0, "update_time": Int64(change.update_time)}
    return UpdateOne({"_id": change.transfer_id}, {"$set": values, "$max": latest})


def transfer(document: Document) -> ListedTransfer:
    """A transfer that was sent."""
    transfer = Transfer(
        document["_id"],
        document["source"],
        document["destination"],
        Money(Currency.of(document["currency"], document["exponent"]), int(document["amount"])),
        document["description"],
        document["hold_id"],
        transfer_state(document["state"], document["source"], int(document["sent_revision"])),
        document.get("refusal", ""),
        int(document["create_time"]),
        int(document["update_time"]),
        int(document["sent_revision"]),
        int(document.get("received_revision", 0)),
        # What earlier versions wrote lacks what no transfer had then.
        tags_of(document.get("tags", "")),
        document.get("reverses", ""),
        document.get("reversed_by", ""),
    )
    return ListedTransfer(int(document["position"]), transfer)


def insert_reversal(change: MovementReversed) -> UpdateOne:
    values = {"position": Int64(change.position), "reversed_by": Int64(change.reversed_by)}
    return insert_once(movement_id(change.account_id, change.revision), values)


def movement_id(account_id: str, revision: int) -> str:
    return f"{account_id}/{revision}"


def insert_minute(change: MinuteReached) -> UpdateOne:
    position, stream, revision = change.place
    values = {"position": Int64(position), "stream": stream, "revision": Int64(revision)}
    return insert_once(Int64(change.minute), values)


def place(document: Document) -> LogPosition:
    return LogPosition(int(document["position"]), document["stream"], int(document["revision"]))


def totals_values(totals: Totals) -> Document:
    credits = stored_credits(totals.credits)
    return {
        "time": Int64(totals.time),
        "entries": Int64(totals.entries),
        "credits": credits if isinstance(credits, str) else Int64(credits),
    }


KNOWN_TOTALS = {"revision": 1, "time": 1, "entries": 1, "credits": 1}


def known_totals(document: Document) -> Totals:
    """The totals of an account or an event. Earlier formats had none."""
    return Totals(*(int(document.get(name, 0)) for name in KNOWN_TOTALS))


def insert_once(identifier: str | Int64, values: Document) -> UpdateOne:
    """If it is missing. As an upsert, so that in a bulk with some that are there already no write fails."""
    return UpdateOne({"_id": identifier}, {"$setOnInsert": values}, upsert=True)


def set_newer(aggregate_id: str, revision: int, values: Document) -> UpdateOne:
    """Unless this revision or a later one is known. No upsert: that would insert what it finds to be newer."""
    guard = {"_id": aggregate_id, "revision": {"$lt": Int64(revision)}}
    return UpdateOne(guard, {"$set": {**values, "revision": Int64(revision)}})


def _address_of(document: Document) -> Address:
    return Address(document["street"], document["city"], document["postal_code"], document["country"])


def _address(address: Address) -> Document:
    return {
        "street": address.street,
        "city": address.city,
        "postal_code": address.postal_code,
        "country": address.country,
    }


def _time(time: int | None) -> Int64 | None:
    return None if time is None else Int64(time)


def version_of(document: Document) -> tuple[int, int, int]:
    return int(document["revision"]), int(document["create_time"]), int(document["update_time"])

"""Adds to the frozen corpus: `python -m tests.eventstore.corpus`, after an example was added below.

events.jsonl holds stored bytes as some version of the bank wrote them, one example a line: its name, stored type and
stream, the payload in both its forms, and what the event says. Lines are only ever added: bytes like these are on
somebody's disk. format-1.db is a whole store of format 1, and format-1.txt its log; neither is ever made again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from datetime import date
from pathlib import Path
from uuid import UUID

from openbank.codec import events as codec
from openbank.codec.events import DomainEvent
from openbank.domain.account_events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import AccountState, SpendingLimits, Spent
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.person import Gender, PersonAddressUpdated, PersonRegistered
from openbank.domain.tags import Label, Tags
from openbank.eventstore.port import BEGINNING, Metadata, NewEvent
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from openbank.eventstore.streams import split
from tests.eventstore.corpus import EVENTS, STORE, STORE_LOG, lines, said_by
from tests.examples import CLF, HOME, JPY, KWD, NOON, OFFICE, john, opening, usd

HOLD = "6cb9ae3b-9a45-8a6e-b5d0-3b6f00000000"
TRANSFER = "0a54a1fb-58ab-8f0e-9d9c-33a5a3be7e0f"
REVERSAL = "f7b1b0e1-0f8e-8a3c-9d52-0c8c3a1f4a11"
EVENT = "d56d4d61-bfc2-8709-8d58-ac0b69b9419f"
DAY = date(2026, 11, 27)
TAGS = Tags("order 7", (Label("shop.id", "Zoë"), Label("till", "")))

EXAMPLES: list[tuple[str, str, DomainEvent]] = [
    ("a person", "person-john", PersonRegistered(john())),
    (
        "a person with nothing that is optional, and text of every kind",
        "person-x_-1",
        PersonRegistered(
            john(
                person_id="x_-1",
                first_name="Zoë 🏦",
                last_name="O'Neill-王\u0301",
                nationality="",
                gender=Gender.OTHER,
                address=OFFICE,
                email="",
            )
        ),
    ),
    ("a woman", "person-jane", PersonRegistered(john(person_id="jane", gender=Gender.FEMALE))),
    ("a move", "person-john", PersonAddressUpdated(HOME, OFFICE)),
    ("a move to the same place", "person-john", PersonAddressUpdated(OFFICE, OFFICE)),
    ("an account", "account-a-1", AccountOpened("a-1", "john", "DE89 3704 0044 0532 0130 00", usd(100_000))),
    ("an account with nothing on it", "account-a-2", AccountOpened("a-2", "john", "123456789", usd(0))),
    ("an account in yen", "account-a-3", AccountOpened("a-3", "jane", "y-1", Money(JPY, 7))),
    ("a deposit", "account-a-1", MoneyDeposited(usd(50_000), "Salary deposit", usd(150_000))),
    ("a deposit without a word", "account-a-1", MoneyDeposited(usd(1), "", usd(150_001))),
    ("the largest deposit", "account-a-2", MoneyDeposited(usd(MAX_MINOR), "", usd(MAX_MINOR))),
    ("a deposit of three decimals", "account-a-4", MoneyDeposited(Money(KWD, 1), "دينار", Money(KWD, 1_001))),
    ("a deposit of four decimals", "account-a-5", MoneyDeposited(Money(CLF, 12_345), "UF", Money(CLF, 12_345))),
    ("a withdrawal", "account-a-1", MoneyWithdrawn(usd(12_345), "Rent", usd(137_656))),
    ("a withdrawal of all there is", "account-a-3", MoneyWithdrawn(Money(JPY, 7), "ラーメン", Money(JPY, 0))),
    ("a freeze", "account-a-1", AccountFrozen(usd(5), usd(5), AccountState.DEBITS_FROZEN, "Fraud")),
    ("an unfreeze", "account-a-1", AccountUnfrozen(usd(5), usd(5))),
    ("a closing", "account-a-2", AccountClosed(usd(0), usd(0), "Moved away", NOON)),
    ("an overdraft", "account-a-1", OverdraftLimitSet(usd(100), usd(0), usd(5), usd(105))),
    (
        "limits",
        "account-a-1",
        SpendingLimitsSet(usd(5), usd(105), SpendingLimits(1_000, 5_000, "Europe/Zurich")),
    ),
    ("one limit", "account-a-1", SpendingLimitsSet(usd(5), usd(105), SpendingLimits(None, 5_000, "UTC"))),
    ("no limits", "account-a-1", SpendingLimitsSet(usd(5), usd(105), None)),
    (
        "a withdrawal under a limit, into the overdraft",
        "account-a-1",
        MoneyWithdrawn(usd(15), "", usd(-10), usd(90), Spent(DAY, 15)),
    ),
    ("a deposit beside a hold", "account-a-1", MoneyDeposited(usd(1), "", usd(6), usd(2))),
    (
        "a hold",
        "account-a-1",
        HoldPlaced(HOLD, usd(4), NOON + 1, "Hotel", usd(6), usd(2), Spent(DAY, 19)),
    ),
    ("a hold without a limit", "account-a-1", HoldPlaced(HOLD, usd(4), NOON + 1, "", usd(6), usd(2))),
    ("a capture", "account-a-1", HoldCaptured(HOLD, usd(1), usd(0), usd(3), "Bar", usd(5), usd(2))),
    ("a last capture", "account-a-1", HoldCaptured(HOLD, usd(1), usd(2), usd(0), "", usd(4), usd(4))),
    ("a release", "account-a-1", HoldReleased(HOLD, usd(3), usd(5), usd(5), "Cancelled")),
    ("an expiry", "account-a-1", HoldExpired(HOLD, usd(3), usd(5), usd(5))),
    ("money sent", "account-a-1", TransferSent(TRANSFER, "a-2", usd(5), "Rent", usd(0), usd(0), spent=Spent(DAY, 5))),
    (
        "money sent out of a hold",
        "account-a-1",
        TransferSent(TRANSFER, "a-2", usd(1), "", usd(4), usd(2), HOLD, usd(2)),
    ),
    ("money received", "account-a-2", TransferReceived(usd(5), usd(5), usd(5), TRANSFER, "a-1", "Rent")),
    (
        "money refused",
        "account-a-3",
        TransferRefused(Money(JPY, 7), Money(JPY, 7), TRANSFER, "a-1", usd(5), "CURRENCY_MISMATCH"),
    ),
    ("money returned", "account-a-1", TransferReturned(usd(5), usd(5), usd(5), TRANSFER, "a-2", "ACCOUNT_NOT_ACTIVE")),
    ("a deposit with a reference", "account-a-1", MoneyDeposited(usd(1), "", usd(6), tags=TAGS)),
    ("a withdrawal with labels", "account-a-1", MoneyWithdrawn(usd(1), "", usd(5), tags=Tags("", TAGS.labels))),
    ("a hold with a reference", "account-a-1", HoldPlaced(HOLD, usd(4), NOON + 1, "", usd(6), usd(2), tags=TAGS)),
    (
        "a capture with a reference",
        "account-a-1",
        HoldCaptured(HOLD, usd(1), usd(0), usd(3), "", usd(5), usd(2), tags=TAGS),
    ),
    (
        "money sent with a reference",
        "account-a-1",
        TransferSent(TRANSFER, "a-2", usd(5), "", usd(0), usd(0), tags=TAGS),
    ),
    ("a deposit reversed", "account-a-1", DepositReversed(2, EVENT, usd(50), "Mistake", usd(5), usd(5))),
    (
        "a deposit reversed beyond what is available",
        "account-a-1",
        DepositReversed(2, EVENT, usd(50), "", usd(-45), usd(-45), allow_overdraw=True),
    ),
    ("a withdrawal reversed", "account-a-1", WithdrawalReversed(usd(12), usd(17), usd(17), 2, EVENT, "Mistake")),
    (
        "money sent back",
        "account-a-1",
        TransferSent(REVERSAL, "a-2", usd(5), "", usd(0), usd(0), reverses_transfer_id=TRANSFER, reversed_revision=2),
    ),
    (
        "money sent back beyond what is available",
        "account-a-1",
        TransferSent(
            REVERSAL,
            "a-2",
            usd(5),
            "Mistake",
            usd(-1),
            usd(-1),
            reverses_transfer_id=TRANSFER,
            reversed_revision=2,
            allow_overdraw=True,
        ),
    ),
    (
        "a request to register somebody",
        "request-00000000-0000-0000-0000-000000000001",
        RequestClaimed("RegisterPerson", b"\x01" + bytes(range(15)), "john"),
    ),
    (
        "a request to open an account",
        "request-00000000-0000-0000-0000-000000000002",
        RequestClaimed("OpenAccount", b"\x01" + bytes(range(15)), "a-1", "DE89 3704 0044 0532 0130 00"),
    ),
    (
        "an account number",
        "number-123456789",
        AccountNumberReserved(
            opening(account_id="a-2"), UUID(int=2).bytes, b"\x01" + bytes(range(15)), "correlation 1", NOON
        ),
    ),
]


def add_examples() -> None:
    """Adds those that are not there yet; what is there stays as it is."""
    known = {line["name"] for line in lines()}
    with EVENTS.open("a") as file:
        for name, stream, event in EXAMPLES:
            if name in known:
                continue
            stored_type, data = codec.encode(event)
            line = {
                "name": name,
                "type": stored_type,
                "stream": stream,
                "data": base64.b64encode(data).decode(),
                "json": codec.to_json(stored_type, data).decode(),
                "event": said_by(event),
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"added: {name}")


async def make_store() -> None:
    """All examples, in streams of their own; some events one by one, some as one command's."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteEventStore(Path(directory))
        for number, (_, stream, event) in enumerate(EXAMPLES):
            revision = len(await store.read_stream(stream))
            metadata = Metadata(
                NOON + number,
                UUID(int=number).bytes if number % 2 else b"",
                b"\x01" * 16 if number % 2 else b"",
                f"correlation {number}" if number % 3 else "",
                f"causation {number}" if number % 5 == 0 else "",
                "john" if split(stream)[0] == "account" else "",
            )
            parts = 2 if number == 9 else 1
            events = [
                NewEvent(
                    UUID(int=100 * number + part).bytes, *codec.encode(event), metadata._replace(part=part, parts=parts)
                )
                for part in range(parts)
            ]
            await store.append(stream, revision, events)
        log = (await store.read_log(BEGINNING)).events
        STORE_LOG.write_text("".join(f"{line}\n" for line in (store.bank_id, store.store_id, *map(repr, log))))
        await store.close()
        shutil.copy(Path(directory) / FILE, STORE)


if __name__ == "__main__":
    add_examples()
    if not STORE.exists():
        asyncio.run(make_store())

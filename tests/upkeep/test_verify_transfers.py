"""`openbank verify` finds transfers that no bank makes, and views of them that contradict the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo import MongoClient

from openbank.app import serving
from openbank.codec import events as codec
from openbank.commands import settling
from openbank.commands.settling import Settled
from openbank.config import EMBEDDED, Settings
from openbank.domain.account_events import (
    AccountEvent,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
)
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.upkeep.verify import verify
from tests.callers import refused
from tests.callers import usd as usd_message
from tests.examples import usd
from tests.stories.test_transfers import Bank
from tests.upkeep.test_verify import alter


async def lead_a_life(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """a-1 has 100 and b-1 has 20 USD; 30 went over, and 5 came back. The id of the first transfer."""
    async with serving(settings) as server, Bank(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="a-1", initial_deposit=usd_message("100"))
        await bank.open("john", account_id="b-1", initial_deposit=usd_message("20"))
        sent = await bank.send("30")

        async def freeze_first(*arguments: object) -> Settled:
            await bank.freeze("b-1")
            return await settling.settle(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("openbank.commands.transfers.settle", freeze_first)
        assert (await refused(bank.send("5"))).reason == "TRANSFER_RETURNED"
        last = await bank.deposit("a-1", "1")
        await bank.balance("a-1", last.consistency_token)
    return str(sent.transfer.transfer_id)


@pytest.fixture
async def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a bank that has stopped: a-1 has 71 USD at revision 5, b-1 has 50 at revision 4."""
    directory = tmp_path / "data"
    await lead_a_life(Settings(listen="127.0.0.1:0", data=directory), monkeypatch)
    return directory


async def test_completed_and_returned_transfers_are_not_a_fault(data: Path) -> None:
    report = await verify(Settings(data=data))
    assert report.faults == []
    assert "money: 121.00 USD paid in, 0.00 USD paid out, 121.00 USD on accounts" in report.lines


async def test_money_in_transit_is_not_a_fault(data: Path) -> None:
    store = SqliteEventStore(data)
    await store.append("account-a-1", 5, [written(SENT)])
    await store.close()
    report = await verify(Settings(data=data))
    assert report.faults == []
    assert "money: 121.00 USD paid in, 0.00 USD paid out, 120.00 USD on accounts, 1.00 USD in transit" in report.lines


def written(event: AccountEvent) -> NewEvent:
    return NewEvent(uuid4().bytes, *codec.encode(event), Metadata(1_000_000, owner_id="john"))


SENT = TransferSent("t", "b-1", usd(100), "", usd(7000), usd(7000))
RECEIVED = TransferReceived(usd(100), usd(5100), usd(5100), "t", "a-1", "")
REFUSED = TransferRefused(usd(5000), usd(5000), "t", "a-1", usd(100), "ACCOUNT_NOT_ACTIVE")
RETURNED = TransferReturned(usd(100), usd(7100), usd(7100), "t", "b-1", "ACCOUNT_NOT_ACTIVE")
AGAIN = TransferReceived(usd(100), usd(5200), usd(5200), "t", "a-1", "")
LESS = TransferReceived(usd(99), usd(5099), usd(5099), "t", "a-1", "")
WRONG: dict[str, Sequence[AccountEvent]] = {
    "credited twice": (SENT, RECEIVED, AGAIN),
    "returned without a recorded refusal": (SENT, RETURNED),
    "returned after it was received": (SENT, RECEIVED, RETURNED),
    "received after it was refused": (SENT, REFUSED, RECEIVED),
    "settled with another amount": (SENT, LESS),
    "received and never sent": (RECEIVED,),
}


@pytest.mark.parametrize("what", WRONG)
async def test_transfers_that_no_bank_makes_are_found(data: Path, what: str) -> None:
    store = SqliteEventStore(data)
    revisions = {"account-a-1": 5, "account-b-1": 4}
    for event in WRONG[what]:
        stream = "account-a-1" if isinstance(event, TransferSent | TransferReturned) else "account-b-1"
        await store.append(stream, revisions[stream], [written(event)])
        revisions[stream] += 1
    await store.close()
    faults = (await verify(Settings(data=data))).faults
    assert any("settles a transfer that is not on its way, or another amount" in fault for fault in faults)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE transfers SET state = 1", "views: 4 rows of transfers"),
        ("UPDATE transfers SET amount = 1 WHERE state = 2", "views: 2 rows of transfers"),
        ("DELETE FROM transfers WHERE state = 4", "views: 1 rows of transfers"),
    ],
)
async def test_a_view_that_contradicts_a_transfer_is_found(data: Path, damage: str, told: str) -> None:
    alter(data / "views.db", damage)
    assert [fault for fault in (await verify(Settings(data=data))).faults if told in fault]


async def test_a_contradicting_view_in_mongodb_is_found(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", event_store=EMBEDDED, views=database)
    transfer_id = await lead_a_life(settings, monkeypatch)
    assert (await verify(settings)).faults == []
    with MongoClient[dict[str, object]](database) as client:
        documents = client.get_default_database()["openbank_transfers_1"]
        for values in ({"amount": 1}, {"state": 4}, {"state": 99}, {"source": "b-1"}):
            kept = documents.find_one({"_id": transfer_id})
            assert kept
            documents.update_one({"_id": transfer_id}, {"$set": values})
            faults = (await verify(settings)).faults
            assert [fault for fault in faults if "views: 1 rows of transfers" in fault], values
            documents.replace_one({"_id": transfer_id}, kept)
        documents.delete_one({"_id": transfer_id})
        assert [fault for fault in (await verify(settings)).faults if "views: 1 rows of transfers" in fault]

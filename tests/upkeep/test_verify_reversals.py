"""`openbank verify` finds reversals that no bank makes, and views of them that contradict the log."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pymongo import MongoClient

from openbank.app import serving
from openbank.codec import events as codec
from openbank.config import EMBEDDED, Settings
from openbank.domain import controls
from openbank.domain.account_events import AccountEvent, DepositReversed, TransferSent, WithdrawalReversed
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.upkeep.verify import verify
from tests.callers import usd as usd_message
from tests.examples import usd
from tests.stories.test_reversals import Bank
from tests.upkeep.test_verify import alter

NOBODY = str(UUID(int=7))


async def lead_a_life(settings: Settings) -> dict[int, str]:
    """a-1 has 70 USD at revision 7: 2 a deposit of 10, 3 a withdrawal of 30, 4 and 6 received 10 and 20 from b-1, of
    which 5 sends the 10 back, 7 takes the deposit back. The ids of its events, and of the transfer of 20 at 0.
    """
    async with serving(settings) as server, Bank(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="a-1", initial_deposit=usd_message("100"))
        await bank.open("john", account_id="b-1", initial_deposit=usd_message("50"))
        await bank.deposit("a-1", "10")
        await bank.withdraw("30")
        ends = {"source_account_id": "b-1", "destination_account_id": "a-1"}
        first = await bank.send("10", **ends)
        await bank.send_back(first.transfer.transfer_id)
        second = await bank.send("20", **ends)
        last = await bank.reverse(2)
        assert await bank.balance("a-1", last.consistency_token) == "90.00 USD"
        ids = {event.revision: event.event_id for event in await bank.account_events() if event.account_id == "a-1"}
    return ids | {0: str(second.transfer.transfer_id)}


async def test_sound_reversals_are_not_a_fault_and_damage_to_their_view_is_found(tmp_path: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path)
    await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    alter(tmp_path / "views.db", "UPDATE reversals SET reversed_by = 9 WHERE revision = 2")
    assert [fault for fault in (await verify(settings)).faults if "views: 2 rows of reversals" in fault]
    alter(tmp_path / "views.db", "DELETE FROM reversals")
    assert [fault for fault in (await verify(settings)).faults if "views: 2 rows of reversals" in fault]


async def test_damage_in_mongodb_is_found(tmp_path: Path, database: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path, event_store=EMBEDDED, views=database)
    await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    with MongoClient[dict[str, object]](database) as client:
        documents = client.get_default_database()["openbank_reversals_1"]
        documents.update_one({"_id": "a-1/2"}, {"$set": {"reversed_by": 9}})
        assert [fault for fault in (await verify(settings)).faults if "views: 1 rows of reversals" in fault]
        documents.delete_one({"_id": "a-1/2"})
        assert [fault for fault in (await verify(settings)).faults if "views: 1 rows of reversals" in fault]


@pytest.mark.parametrize(
    "kind",
    [
        "another event",
        "less than was moved",
        "a withdrawal as a deposit",
        "a transfer",
        "what is not there",
        "another id",
    ],
)
async def test_a_reversal_of_something_else_than_it_says_is_found(tmp_path: Path, kind: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path)
    ids = await lead_a_life(settings)
    one, all_of_it = usd(100), usd(3_000)
    forged: dict[str, AccountEvent] = {
        "another event": WithdrawalReversed(all_of_it, usd(12_000), usd(12_000), 3, ids[2], ""),
        "less than was moved": WithdrawalReversed(one, usd(9_100), usd(9_100), 3, ids[3], ""),
        "a withdrawal as a deposit": DepositReversed(3, ids[3], all_of_it, "", usd(6_000), usd(6_000)),
        "a transfer": DepositReversed(6, ids[6], usd(2_000), "", usd(7_000), usd(7_000)),
        "what is not there": DepositReversed(1, ids[1], usd(9_000), "", usd(0), usd(0)),
        "another id": TransferSent(
            NOBODY, "b-1", usd(2_000), "", usd(7_000), usd(7_000), reverses_transfer_id=NOBODY, reversed_revision=6
        ),
    }
    await append(tmp_path, forged[kind])
    faults = (await verify(settings)).faults
    assert [fault for fault in faults if "which is another" in fault], faults


async def test_a_second_reversal_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where the account has forgotten the first.
    monkeypatch.setattr(controls, "REVERSALS_KEPT", 0)
    settings = Settings(listen="127.0.0.1:0", data=tmp_path)
    ids = await lead_a_life(settings)
    await append(tmp_path, DepositReversed(2, ids[2], usd(1_000), "", usd(8_000), usd(8_000)))
    faults = (await verify(settings)).faults
    assert [fault for fault in faults if "reverses revision 2, as revision 7 has done" in fault], faults


async def append(data: Path, event: AccountEvent) -> None:
    store = SqliteEventStore(data)
    await store.append(
        "account-a-1", 7, [NewEvent(uuid4().bytes, *codec.encode(event), Metadata(2**52, owner_id="john"))]
    )
    await store.close()

"""`openbank verify` finds events of holds that no bank writes, and views that say of holds what the log does not."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from pymongo import MongoClient

from openbank.app import serving
from openbank.codec import events as codec
from openbank.config import EMBEDDED, Settings
from openbank.domain.account_events import AccountEvent, HoldCaptured, HoldExpired, HoldReleased
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.upkeep.verify import verify
from tests.callers import usd as usd_message
from tests.examples import usd
from tests.stories.test_holds import Bank
from tests.upkeep.test_verify import alter


async def lead_a_life(settings: Settings) -> tuple[str, str]:
    """a-1 has 80 USD and 30 of them on hold, at revision 6. The ids of a released hold and the open one."""
    async with serving(settings) as server, Bank(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="a-1", initial_deposit=usd_message("100"))
        released, kept = await bank.place("40"), await bank.place("50")
        await bank.capture(kept.hold.hold_id, "20")
        last = await bank.release(released.hold.hold_id)
        last = await bank.deposit("a-1", "1")
        await bank.balance("a-1", last.consistency_token)
    return released.hold.hold_id, kept.hold.hold_id


async def test_sound_holds_are_not_a_fault_and_damage_to_their_view_is_found(tmp_path: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path)
    await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    alter(tmp_path / "views.db", "UPDATE holds SET remaining = remaining + 1 WHERE state = 'OPEN'")
    assert [fault for fault in (await verify(settings)).faults if "views: 2 rows of holds" in fault]
    alter(tmp_path / "views.db", "DELETE FROM holds")
    assert [fault for fault in (await verify(settings)).faults if "views: 2 rows of holds" in fault]


async def test_damage_in_mongodb_is_found(tmp_path: Path, database: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path, event_store=EMBEDDED, views=database)
    _, kept = await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    with MongoClient[dict[str, object]](database) as client:
        documents = client.get_default_database()["openbank_holds_1"]
        before = documents.find_one({"_id": kept})
        assert before
        for values in ({"remaining": 1}, {"state": "CLOSED"}, {"account_id": "b"}, {"revision": 99}):
            documents.update_one({"_id": kept}, {"$set": values})
            faults = (await verify(settings)).faults
            assert [fault for fault in faults if "views: 1 rows of holds" in fault], values
            documents.replace_one({"_id": kept}, before)
        documents.delete_one({"_id": kept})
        assert [fault for fault in (await verify(settings)).faults if "views: 1 rows of holds" in fault]


@pytest.mark.parametrize("kind", ["captured", "released", "expired", "too much"])
async def test_an_event_of_a_hold_that_is_not_open_is_found(tmp_path: Path, kind: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path)
    released, kept = await lead_a_life(settings)
    forged: dict[str, AccountEvent] = {
        "captured": HoldCaptured(released, usd(1_000), usd(0), usd(3_000), "", usd(7_100), usd(5_100)),
        "released": HoldReleased(released, usd(4_000), usd(8_100), usd(9_100), ""),
        "expired": HoldExpired(released, usd(4_000), usd(8_100), usd(9_100)),
        "too much": HoldReleased(kept, usd(3_001), usd(8_100), usd(8_101), ""),
    }
    store = SqliteEventStore(tmp_path)
    event = NewEvent(uuid4().bytes, *codec.encode(forged[kind]), Metadata(2**52, owner_id="john"))
    await store.append("account-a-1", 6, [event])
    await store.close()
    assert [fault for fault in (await verify(settings)).faults if "does not fit the account before it" in fault]

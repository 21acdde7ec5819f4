"""`openbank verify` finds running totals and terms of movements that are not those of the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymongo import MongoClient

from openbank.app import serving
from openbank.common.v1.label_pb2 import Label
from openbank.config import EMBEDDED, Settings
from openbank.upkeep.verify import verify
from tests.callers import Caller, usd
from tests.upkeep.test_verify import alter

RED = Label(key="colour", value="red")


async def lead_a_life(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd("100"))
        for _ in range(3):
            last = await bank.deposit("a-1", "1", external_reference="order", labels=[RED])
        await bank.balance("a-1", last.consistency_token)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE account_events SET credits = credits + 1 WHERE revision = 2", "2 rows of account_events"),
        ("UPDATE account_events SET time = time + 1 WHERE revision = 2", "2 rows of account_events"),
        ("UPDATE account_events SET entries = 9 WHERE revision = 3", "2 rows of account_events"),
        ("UPDATE account_events SET moved = 0 WHERE revision = 3", "2 rows of account_events"),
        ("UPDATE accounts SET entries = 9", "2 rows of accounts"),
        ("UPDATE accounts SET credits = '9'", "2 rows of accounts"),
        ("DELETE FROM movement_terms WHERE position = (SELECT max(position) FROM movement_terms)", "5 rows of mo"),
        ("INSERT INTO movement_terms SELECT zeroblob(16), position FROM account_events LIMIT 1", "1 rows of mo"),
    ],
)
async def test_damage_to_totals_and_terms_in_sqlite_is_found(tmp_path: Path, damage: str, told: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data")
    await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    alter(settings.data / "views.db", damage)
    assert [fault for fault in (await verify(settings)).faults if told in fault]


async def test_damage_to_totals_and_terms_in_mongodb_is_found(tmp_path: Path, database: str) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", event_store=EMBEDDED, views=database)
    await lead_a_life(settings)
    assert (await verify(settings)).faults == []
    with MongoClient[dict[str, object]](database) as client:
        events = client.get_default_database()["openbank_account_events_1"]
        kept = events.find_one({"_id": "a-1/2"})
        assert kept
        for name, value in (("credits", 9), ("time", 9), ("entries", 9), ("moves", False)):
            events.update_one({"_id": "a-1/2"}, {"$set": {name: value}})
            faults = (await verify(settings)).faults
            assert [fault for fault in faults if "1 rows of account_events" in fault], name
            events.replace_one({"_id": "a-1/2"}, kept)
        terms = client.get_default_database()["openbank_movement_terms_1"]
        terms.delete_one({"event": "a-1/3"})
        assert [fault for fault in (await verify(settings)).faults if "1 rows of movement_terms" in fault]

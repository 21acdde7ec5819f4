"""`openbank verify` on EventStoreDB: the same findings, and what other programs and operators have done to streams."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from esdbclient import AsyncEventStoreDBClient, NewEvent, StreamState
from pymongo import MongoClient

from openbank.app import serving
from openbank.config import Settings
from openbank.upkeep.verify import Report, verify
from openbank.views.port import ViewsUnavailable
from tests.callers import Caller
from tests.servers import run_openbank
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb
from tests.upkeep.test_verify import lead_a_life

DEPOSITED = "openbank.accounts.v1.MoneyDeposited"


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@pytest.fixture
async def settings(server: EventStoreDB, tmp_path: Path) -> Settings:
    """The settings of a bank with two accounts, a dozen events and views that are up with them; it has stopped."""
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", event_store=server.uri)
    async with serving(settings) as running, Caller(running.address) as caller:
        await lead_a_life(caller)
    return settings


@asynccontextmanager
async def other_program(server: EventStoreDB) -> AsyncIterator[AsyncEventStoreDBClient]:
    client = AsyncEventStoreDBClient(server.uri)
    await client.connect()
    yield client
    await client.close()


async def append(server: EventStoreDB, stream: str, type_name: str) -> None:
    async with other_program(server) as client:
        event = NewEvent(type_name, b"{}", id=uuid4())
        await client.append_to_stream(stream, current_version=StreamState.ANY, events=[event])


async def test_a_sound_bank_has_no_fault(server: EventStoreDB, settings: Settings) -> None:
    before = len(server.log.records)
    report = await verify(settings)
    assert (report.faults, report.fault_count) == ([], 0)
    assert report.lines[0].startswith("log: 8 events, 1 persons, 2 accounts; it ends at position ")
    assert report.lines[1] == "money: 13.00 USD paid in, 0.00 USD paid out, 13.00 USD on accounts"
    assert report.lines[2].startswith("views: as of position ")
    assert len(server.log.records) == before


async def test_the_command_takes_the_stores_from_the_environment(server: EventStoreDB, settings: Settings) -> None:
    environment = {"OPENBANK_EVENT_STORE": server.uri, "OPENBANK_DATA": str(settings.data)}
    code, out, err = await run_openbank("verify", environment=environment)
    assert (code, err) == (0, "")
    assert out.endswith("no fault\n")
    await append(server, "account-a1", DEPOSITED)
    code, out, _ = await run_openbank("verify", environment=environment)
    assert code == 1
    assert out.endswith("1 faults\n")
    code, _, err = await run_openbank(
        "verify",
        "--store-wait-seconds",
        "0",
        environment=environment | {"OPENBANK_EVENT_STORE": "esdb://127.0.0.1:1?Tls=false"},
    )
    assert code == 2
    assert "EventStoreDB at 127.0.0.1:1" in err


async def test_a_bank_that_is_being_served_is_verified_and_not_disturbed(
    server: EventStoreDB, settings: Settings
) -> None:
    async with serving(settings) as running, Caller(running.address) as bank:
        stopped = asyncio.Event()

        async def pay() -> None:
            while not stopped.is_set():
                await bank.deposit("a1", "1")

        paying = asyncio.create_task(pay())
        for _ in range(3):
            report = await verify(settings)
            assert report.faults == []
        stopped.set()
        await paying


async def told(settings: Settings) -> Report:
    async with asyncio.timeout(60):
        return await verify(settings)


async def test_a_poisoned_stream_is_named(server: EventStoreDB, settings: Settings) -> None:
    await append(server, "account-a1", DEPOSITED)
    [fault] = (await told(settings)).faults
    assert fault.startswith("revision 5 of account-a1, at position ")
    assert "does not follow from what comes before it" in fault


async def test_streams_with_events_of_other_programs_are_named_and_are_not_a_fault(
    server: EventStoreDB, settings: Settings
) -> None:
    for stream in ("account-a1", "account-a1", "person-john", "elsewhere-1"):
        await append(server, stream, "SomethingElse")
    report = await told(settings)
    assert report.faults == []
    assert [line for line in report.lines if line.startswith("other programs")] == [
        "other programs: 2 events in account-a1, which mean nothing to the bank",
        "other programs: 1 events in person-john, which mean nothing to the bank",
    ]


async def test_streams_that_operators_have_hidden_are_named(server: EventStoreDB, settings: Settings) -> None:
    async with other_program(server) as client:
        await client.set_stream_metadata("account-a1", metadata={"$tb": 2})
        await client.set_stream_metadata("person-john", metadata={"$maxCount": 5})
        await client.set_stream_metadata("elsewhere-1", metadata={"$tb": 2})
        await client.delete_stream("account-a2", current_version=StreamState.ANY)
        await client.tombstone_stream("number-N2", current_version=StreamState.ANY)
    assert set((await told(settings)).faults) == {
        "account-a1 was truncated: its events before revision 3 are hidden",
        "person-john has $maxCount in its metadata, which hides events",
        "account-a2 was deleted",
        "number-N2 was deleted permanently, by a tombstone",
    }


async def test_corrected_metadata_is_not_a_fault(server: EventStoreDB, settings: Settings) -> None:
    async with other_program(server) as client:
        await client.set_stream_metadata("account-a1", metadata={"$tb": 2})
        await client.set_stream_metadata("account-a1", metadata={}, current_version=0)
    assert (await told(settings)).faults == []


async def test_views_that_are_not_those_of_the_log_are_found(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.data / "views.db")) as connection, connection:
        connection.execute("UPDATE accounts SET balance = 1 WHERE account_id = 'a1'")
        connection.execute("DELETE FROM account_events WHERE revision = 2")
    assert set((await told(settings)).faults) == {
        "views: 2 rows of accounts are not those of the log",
        "views: 1 rows of account_events are not those of the log",
    }


@pytest.fixture
def mongodb(every_mongodb: str) -> str:
    return every_mongodb


@pytest.fixture
async def in_mongodb(server: EventStoreDB, database: str, tmp_path: Path) -> Settings:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", event_store=server.uri, views=database)
    async with serving(settings) as running, Caller(running.address) as caller:
        await lead_a_life(caller)
    return settings


def change(settings: Settings, collection: str, id: str, values: dict[str, object] | None) -> None:
    """Another program's change of a document; None removes it."""
    with MongoClient[dict[str, object]](settings.views) as client:
        documents = client.get_default_database()[f"openbank_{collection}_1"]
        if values is None:
            documents.delete_one({"_id": id})
        else:
            documents.update_one({"_id": id}, {"$set": values}, upsert=True)


async def test_views_in_mongodb_are_compared_and_left_as_they_are(in_mongodb: Settings) -> None:
    report = await verify(in_mongodb)
    assert report.faults == []
    assert report.lines[-1].startswith("views: as of position ")
    assert report.lines[-1].endswith("compared with rebuilt views")


@pytest.mark.parametrize(
    ("collection", "id", "values", "told"),
    [
        ("accounts", "a1", {"balance": 1}, "views: 1 rows of accounts"),
        ("accounts", "a1", {"revision": 99}, "views: 1 rows of accounts"),
        ("accounts", "a1", {"revision": "x"}, "views: 1 rows of accounts"),
        ("accounts", "a2", None, "views: 1 rows of accounts"),
        ("accounts", "a3", {"position": 1}, "views: 1 rows of accounts"),
        ("persons", "john", {"email": ""}, "views: 1 rows of persons"),
        ("account_events", "a1/2", {"record_time": 1}, "views: 1 rows of account_events"),
        ("account_events", "a1/2", None, "views: 1 rows of account_events"),
    ],
)
async def test_documents_that_are_not_those_of_the_log_are_found(
    in_mongodb: Settings, collection: str, id: str, values: dict[str, object] | None, told: str
) -> None:
    change(in_mongodb, collection, id, values)
    assert (await verify(in_mongodb)).faults == [f"{told} are not those of the log"]


async def test_documents_that_change_meanwhile_are_not_faults(in_mongodb: Settings) -> None:
    async with serving(in_mongodb) as running, Caller(running.address) as bank:
        stopped = asyncio.Event()

        async def pay() -> None:
            while not stopped.is_set():
                paid = await bank.deposit("a1", "1")
                await bank.balance("a1", paid.consistency_token)

        paying = asyncio.create_task(pay())
        for _ in range(2):
            assert (await verify(in_mongodb)).faults == []
        stopped.set()
        await paying


async def test_a_mongodb_that_is_away_is_not_a_fault_of_the_bank(settings: Settings) -> None:
    away = "mongodb://127.0.0.1:1/bank?serverSelectionTimeoutMS=100"
    with pytest.raises(ViewsUnavailable):
        await verify(replace(settings, views=away))


async def test_a_server_without_a_bank_is_refused_and_stays_so(server: EventStoreDB, tmp_path: Path) -> None:
    code, out, err = await run_openbank("verify", "--event-store", server.uri, "--data", str(tmp_path / "data"))
    assert (code, out) == (2, "")
    assert "no bank has ever been in this store" in err
    assert not (tmp_path / "data").exists()
    assert [record.stream for record in server.log.records if not record.stream.startswith("$")] == []

"""A start waits for its stores, and says so; one that cannot be ends with a line that says why."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from esdbclient import EventStoreDBClient, NewEvent, StreamState
from pymongo import MongoClient

from openbank.app import serving
from openbank.eventstore.eventstoredb.identity import STORE_CREATED, STORE_STREAM
from openbank.views.mongo.checkpoint import COLLECTION
from tests.back_ends import BackEnd
from tests.callers import Caller, until
from tests.servers import ServerProcess, run_openbank
from tests.stand_ins.process import EventStoreDBProcess, FerretDBProcess, eventstoredb


async def refused_start(back_end: BackEnd, data: Path, *flags: str) -> list[str]:
    """What it said on standard error, line by line."""
    arguments = ["serve", "--listen", "127.0.0.1:0", "--data", str(data), *back_end.flags, *flags]
    code, out, err = await run_openbank(*arguments)
    assert (code, out) == (2, "")
    return err.splitlines()


async def test_a_start_waits_for_the_event_store(tmp_path: Path) -> None:
    events = EventStoreDBProcess(tmp_path / "log.db")
    with events:
        events.kill()
        process = ServerProcess(tmp_path / "data", *BackEnd(events.uri).flags)
        await process.launch()
        await until(lambda: bool(process.said("waiting for EventStoreDB")), 10)
        await asyncio.to_thread(events.start)
        await process.ready()
        async with Caller(process.address) as bank:
            await bank.open()
        assert await process.stop() == 0
    [line] = process.said("waiting for EventStoreDB")
    assert line["address"] == events.address
    assert line["seconds"] == 60


async def test_a_start_waits_for_the_views(ferretdb: FerretDBProcess, tmp_path: Path) -> None:
    async with eventstoredb() as events:
        ferretdb.kill()
        process = ServerProcess(tmp_path / "data", *BackEnd(events.uri, f"{ferretdb.uri}/openbank").flags)
        await process.launch()
        await until(lambda: bool(process.said("waiting for the views")), 10)
        await asyncio.to_thread(ferretdb.start)
        await process.ready()
        assert await process.stop() == 0
    [line] = process.said("waiting for the views")
    assert line["seconds"] == 60
    assert ferretdb.address in line["reason"]


async def test_a_start_waits_for_views_that_fall_silent_after_they_were_reached(
    ferretdb: FerretDBProcess, tmp_path: Path
) -> None:
    assert ferretdb.pid is not None
    async with eventstoredb() as events:
        back_end = BackEnd(events.uri, f"{ferretdb.uri}/silent")
        settings = back_end.settings(tmp_path / "data")
        async with serving(settings) as server, Caller(server.address) as bank:
            opened = await bank.open()
            await bank.balance(opened.account.account_id, opened.consistency_token)
        # It is reached before EventStoreDB, and asked again after it.
        asked = events.faults.add("slow", seconds=0.2, on=("gossip", "read"))
        process = ServerProcess(tmp_path / "data", *back_end.flags)
        await process.launch()
        await until(lambda: asked.struck > 0, 20)
        os.kill(ferretdb.pid, signal.SIGSTOP)
        try:
            await until(lambda: bool(process.said("waiting for the views")), 20)
        finally:
            os.kill(ferretdb.pid, signal.SIGCONT)
        await process.ready()
        assert await process.stop() == 0


async def test_a_store_that_does_not_come_ends_the_start(tmp_path: Path) -> None:
    nobody = "127.0.0.1:1"
    async with eventstoredb() as events:
        for back_end, what in (
            (BackEnd(f"esdb://admin:secret@{nobody}?Tls=false"), "EventStoreDB"),
            (BackEnd(events.uri, f"mongodb://admin:secret@{nobody}/openbank"), "MongoDB"),
        ):
            *waiting, last = await refused_start(back_end, tmp_path / "data", "--store-wait-seconds", "2")
            assert [line for line in waiting if "waiting for" in line]
            assert last.startswith(f"openbank: {what} at {nobody}")
            assert "secret" not in "".join([*waiting, last])


async def test_views_of_another_bank_are_refused(database: str, tmp_path: Path) -> None:
    async with eventstoredb() as ours, eventstoredb() as theirs:
        async with serving(BackEnd(theirs.uri, database).settings(tmp_path / "data")):
            pass
        [line] = await refused_start(BackEnd(ours.uri, database), tmp_path / "data")
        assert "holds no bank, and the views belong to the bank" in line
        async with serving(BackEnd(ours.uri).settings(tmp_path / "ours")):
            pass
        [line] = await refused_start(BackEnd(ours.uri, database), tmp_path / "data")
    assert "these views belong to the bank" in line


async def test_an_event_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with eventstoredb() as events:
        await asyncio.to_thread(write_identity, events.uri, {"format": 99, "bankId": "0" * 32, "storeId": "1" * 32})
        [line] = await refused_start(BackEnd(events.uri), tmp_path / "data")
    assert "format 99, written by a newer version" in line


async def test_views_of_a_newer_version_are_refused(database: str, tmp_path: Path) -> None:
    async with eventstoredb() as events:
        back_end = BackEnd(events.uri, database)
        async with serving(back_end.settings(tmp_path / "data")):
            pass
        with MongoClient[dict[str, object]](database) as client:
            client.get_default_database()[COLLECTION].update_one({}, {"$set": {"format": 99}})
        [line] = await refused_start(back_end, tmp_path / "data")
    assert "format 99, written by a newer version" in line


def write_identity(uri: str, identity: dict[str, object]) -> None:
    client = EventStoreDBClient(uri)
    created = NewEvent(STORE_CREATED, json.dumps(identity).encode())
    client.append_to_stream(STORE_STREAM, current_version=StreamState.NO_STREAM, events=[created])
    client.close()

"""EventStoreDB comes back with another log under a running bank: the bank stops, says what to do, and mixes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from esdbclient import AsyncEventStoreDBClient
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.eventstoredb import same_log
from openbank.rpc.health import NOT_SERVING
from tests.back_ends import BackEnd
from tests.callers import Caller, refusal, until_available, usd
from tests.servers import run_openbank
from tests.stand_ins.eventstoredb.log import Copy, Log
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb

PARTS = ("", "openbank.commands", "openbank.queries", "openbank.feeds")
FOUND_SECONDS_MAX = 10


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_log, "LOOK_PAUSE_SECONDS", 0.02)


@pytest.fixture
async def events() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@pytest.fixture(params=["mixed", "servers"])
def back_end(request: pytest.FixtureRequest, events: EventStoreDB) -> BackEnd:
    views = {"views": request.getfixturevalue("database")} if request.param == "servers" else {}
    return BackEnd(event_store=events.uri, **views)


async def until_not_serving(bank: Caller, part: str) -> None:
    health: Any = HealthStub(bank.channel)
    async with asyncio.timeout(FOUND_SECONDS_MAX):
        async for told in health.Watch(HealthCheckRequest(service=part)):
            if told.status == NOT_SERVING:
                return


async def watched(watch: Any, account_id: str) -> list[int]:
    """The revisions of an account that a watch has sent until it ended."""
    revisions = []
    with suppress(AioRpcError):
        async for response in watch:
            revisions += [event.revision for event in response.events if event.account_id == account_id]
    return revisions


@pytest.mark.parametrize("other_log", ["empty", "older"])
async def test_a_bank_whose_log_is_exchanged_stops_and_does_not_start(
    other_log: str, events: EventStoreDB, back_end: BackEnd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = back_end.settings(tmp_path, heartbeat_seconds=0.2)
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open(initial_deposit=usd("5"))).account.account_id
        backup = Copy(events.log)
        watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        paid = await bank.deposit(account_id, "1")
        assert await bank.balance(account_id, paid.consistency_token) == "6.00 USD"

        await events.restart(Log() if other_log == "empty" else Log(backup))
        written = len(events.log.records)

        for part in PARTS:
            await until_not_serving(bank, part)
        for call in (
            lambda: bank.deposit(account_id, "1"),
            lambda: bank.balance(account_id),
            lambda: bank.open(),
        ):
            with pytest.raises(AioRpcError) as refused:
                await call()
            assert refused.value.code() is StatusCode.FAILED_PRECONDITION
            assert refusal(refused.value).reason == "LOG_MISMATCH"
            assert "its operator must act" in (refused.value.details() or "")
        assert await watched(watch, account_id) == [1, 2]
        assert await watch.code() is StatusCode.FAILED_PRECONDITION
        resumed = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        assert await watched(resumed, account_id) == []
        assert await resumed.code() is StatusCode.FAILED_PRECONDITION
        assert len(events.log.records) == written
        (line,) = (record for record in caplog.records if record.message == "another log")
        assert "openbank accept-loss" in str(line.values["reason"])  # type: ignore[attr-defined]

    with pytest.raises(StoreRefused, match="holds no bank" if other_log == "empty" else "openbank accept-loss"):
        async with serving(settings):
            pass
    assert len(events.log.records) == written


async def test_a_bank_continues_with_what_is_left_once_that_is_accepted(
    events: EventStoreDB, back_end: BackEnd, tmp_path: Path
) -> None:
    settings = back_end.settings(tmp_path)
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open(initial_deposit=usd("5"))).account.account_id
        backup = Copy(events.log)
        paid = await bank.deposit(account_id, "1")
        assert await bank.balance(account_id, paid.consistency_token) == "6.00 USD"
    await events.restart(Log(backup))
    code, out, _ = await run_openbank("accept-loss", "--event-store", events.uri)
    assert (code, f"the log in esdb://{events.address} ends at position" in out) == (0, True)
    async with serving(settings) as server, Caller(server.address) as bank:
        paid = await until_available(lambda: bank.deposit(account_id, "2"))
        assert await bank.balance(account_id, paid.consistency_token) == "7.00 USD"


async def test_a_stream_that_operators_truncate_does_not_keep_the_bank_from_starting(
    events: EventStoreDB, back_end: BackEnd, tmp_path: Path
) -> None:
    settings = back_end.settings(tmp_path)
    async with serving(settings) as server, Caller(server.address) as bank:
        kept = (await bank.open(initial_deposit=usd("5"))).account.account_id
        account_id = (await bank.open(initial_deposit=usd("5"))).account.account_id
        paid = await bank.deposit(account_id, "1")
        assert await bank.balance(account_id, paid.consistency_token) == "6.00 USD"
    async with AsyncEventStoreDBClient(events.uri) as client:
        await client.connect()
        await client.set_stream_metadata(f"account-{account_id}", metadata={"$tb": 2})
    events.log.scavenge()
    async with serving(settings) as server, Caller(server.address) as bank:
        paid = await bank.deposit(kept, "2")
        assert await bank.balance(kept, paid.consistency_token) == "7.00 USD"

"""Lags in seconds follow the clock while a part stands still, and return to 0."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.app import serving
from openbank.commands import settling
from openbank.commands.settling import Settled
from openbank.courier import courier
from openbank.domain.clock import system_clock
from openbank.domain.transfers import TransferState
from openbank.eventstore.errors import StoreUnavailable
from openbank.holds.v1.holds_service_pb2 import PlaceHoldRequest
from openbank.sinks.address import parse_all
from openbank.sweeper import Sweeper
from openbank.transfers.v1.transfers_service_pb2 import CreateTransferRequest
from tests.back_ends import BackEnd
from tests.callers import Caller, usd
from tests.metrics.scraping import value
from tests.sinks.processes import HttpReceiver

LONG = 140 * "d"
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16))
"""A client that takes in little ahead of its reader: left alone, it would take some megabytes."""


class Clock:
    """The bank's clock, which can be set forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0

    def __call__(self) -> int:
        return system_clock() + self.ahead_seconds * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def until_zero(metrics: str, name: str, *labels: str) -> None:
    async with asyncio.timeout(20):
        while await value(metrics, name, *labels):
            pass


async def assert_follows(clock: Clock, metrics: str, name: str, *labels: str) -> None:
    """An hour later, it has grown by an hour, and by what has passed here meanwhile."""
    before = await value(metrics, name, *labels)
    assert 0 <= before < 60
    clock.ahead_seconds += 3600
    assert before + 3600 <= await value(metrics, name, *labels) < before + 3660


@asynccontextmanager
async def bank_with(back_end: BackEnd, data: Path, clock: Clock, *sinks: str) -> AsyncIterator[tuple[Caller, str]]:
    settings = back_end.settings(
        data, metrics_listen="127.0.0.1:0", sink=parse_all(list(sinks)), sink_retry_seconds_max=0.2
    )
    async with serving(settings, clock) as server, Caller(server.address) as bank:
        await server.ready()
        yield bank, server.metrics_address


async def test_the_lag_of_views_that_stand_still_grows(back_end: BackEnd, tmp_path: Path, clock: Clock) -> None:
    async with bank_with(back_end, tmp_path, clock) as (bank, metrics):
        account_id = (await bank.open()).account.account_id
        await until_zero(metrics, "openbank_view_lag_events")
        assert await value(metrics, "openbank_view_lag_seconds") == 0
        with closing(sqlite3.connect(tmp_path / "views.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                await bank.deposit(account_id, "1")
            assert await value(metrics, "openbank_view_lag_events") == 3
            await assert_follows(clock, metrics, "openbank_view_lag_seconds")
            other.execute("ROLLBACK")
        await until_zero(metrics, "openbank_view_lag_seconds")
        assert await value(metrics, "openbank_view_lag_events") == 0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[HttpReceiver]:
    with HttpReceiver(tmp_path / "received") as receiver:
        yield receiver


async def test_the_lag_of_a_sink_that_is_down_grows(
    back_end: BackEnd, tmp_path: Path, clock: Clock, receiver: HttpReceiver
) -> None:
    async with bank_with(back_end, tmp_path / "data", clock, f"crm={receiver.uri}/events") as (bank, metrics):
        account_id = (await bank.open()).account.account_id
        await until_zero(metrics, "openbank_sink_lag_seconds", "crm")
        assert await value(metrics, "openbank_sink_deliveries_total", "accepted", "crm") == 2
        receiver.kill()
        await bank.deposit(account_id, "1")
        await bank.deposit(account_id, "1")
        assert await value(metrics, "openbank_sink_lag_events", "crm") == 2
        await assert_follows(clock, metrics, "openbank_sink_lag_seconds", "crm")
        assert (await value(metrics, "openbank_sink_deliveries_total", "failed", "crm")) > 0
        assert await value(metrics, "openbank_sink_parked", "crm") == 0
        receiver.start()
        await until_zero(metrics, "openbank_sink_lag_seconds", "crm")
        assert await value(metrics, "openbank_sink_lag_events", "crm") == 0


async def test_the_age_of_a_refused_event_grows(
    back_end: BackEnd, tmp_path: Path, clock: Clock, receiver: HttpReceiver
) -> None:
    async with bank_with(back_end, tmp_path / "data", clock, f"crm={receiver.uri}/events") as (bank, metrics):
        account_id = (await bank.open()).account.account_id
        await until_zero(metrics, "openbank_sink_lag_seconds", "crm")
        receiver.kill()
        receiver.refuse((await bank.deposit(account_id, "1")).event_id)
        receiver.start()
        await until_zero(metrics, "openbank_sink_lag_seconds", "crm")
        assert await value(metrics, "openbank_sink_parked", "crm") == 1
        assert await value(metrics, "openbank_sink_deliveries_total", "rejected", "crm") == 1
        await assert_follows(clock, metrics, "openbank_sink_oldest_parked_seconds", "crm")


async def test_the_lag_of_a_watch_whose_client_does_not_read_grows(
    back_end: BackEnd, tmp_path: Path, clock: Clock
) -> None:
    async with bank_with(back_end, tmp_path, clock) as (bank, metrics):
        account_id = (await bank.open()).account.account_id
        level = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        await level.read()
        async with grpc.aio.insecure_channel(bank.address, options=SMALL_WINDOW) as channel:
            stub: Any = AccountsServiceStub(channel)
            stalled = stub.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
            await stalled.read()
            assert await value(metrics, "openbank_watches") == 2
            async with asyncio.timeout(60):
                # Until what gRPC has room for is full.
                while await value(metrics, "openbank_watch_lag_seconds") < 0.2:
                    await asyncio.gather(*(bank.deposit(account_id, "1", description=LONG) for _ in range(100)))
            assert await value(metrics, "openbank_watch_lag_events") > 0
            await assert_follows(clock, metrics, "openbank_watch_lag_seconds")
            stalled.cancel()
            await until_zero(metrics, "openbank_watch_lag_seconds")
            assert await value(metrics, "openbank_watch_lag_events") == 0


async def test_the_age_of_money_in_transit_grows(
    back_end: BackEnd, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def left_to_the_courier(_: Any, sent: Any) -> Settled:
        return Settled(TransferState.IN_TRANSIT, sent.record_time)

    async def later(bank: Any, sent: Any) -> Settled:
        if not settles.is_set():
            raise StoreUnavailable("not yet")
        return await settling.settle(bank, sent)

    settles = asyncio.Event()
    monkeypatch.setattr("openbank.commands.transfers.settle", left_to_the_courier)
    monkeypatch.setattr(courier, "settle", later)
    monkeypatch.setattr(courier, "RETRY_SECONDS", 0.1)
    async with bank_with(back_end, tmp_path, clock) as (bank, metrics):
        source, destination = [(await bank.open(initial_deposit=usd("9"))).account.account_id for _ in range(2)]
        assert await value(metrics, "openbank_transfers_oldest_in_transit_seconds") == 0
        sent = CreateTransferRequest(source_account_id=source, destination_account_id=destination, amount=usd("1"))
        token = (await bank.transfers.CreateTransfer(sent)).consistency_token
        await bank.balance(source, token)
        assert await value(metrics, "openbank_transfers_in_transit") == 1
        await assert_follows(clock, metrics, "openbank_transfers_oldest_in_transit_seconds")
        settles.set()
        await until_zero(metrics, "openbank_transfers_in_transit")
        assert await value(metrics, "openbank_transfers_oldest_in_transit_seconds") == 0


async def test_overdue_holds_are_counted_until_they_are_ended(
    back_end: BackEnd, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rests(_: Sweeper) -> bool:
        return False

    async with bank_with(back_end, tmp_path, clock) as (bank, metrics):
        with monkeypatch.context() as patch:
            patch.setattr(Sweeper, "sweep_page", rests)
            account_id = (await bank.open(initial_deposit=usd("9"))).account.account_id
            placed = await bank.holds.PlaceHold(PlaceHoldRequest(account_id=account_id, amount=usd("1")))
            await bank.balance(account_id, placed.consistency_token)
            assert await value(metrics, "openbank_holds_due") == 0
            clock.ahead_seconds += 400 * 86_400
            assert await value(metrics, "openbank_holds_due") == 1
        await until_zero(metrics, "openbank_holds_due")

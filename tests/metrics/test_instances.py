"""Two instances on the same servers: which of them does the work, and what happens while a store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.following import tail
from tests.back_ends import BackEnd
from tests.callers import Caller, refused
from tests.metrics.scraping import samples, value
from tests.stand_ins.process import EventStoreDBProcess, eventstoredb

HELD = "openbank_lease_held"
REBUILD = ("rebuild",)
"""Held during a rebuild only."""
LEASES = {("projector",), ("courier",), ("sweeper",)}


@asynccontextmanager
async def instance(back_end: BackEnd, data: Path) -> AsyncIterator[tuple[Caller, str]]:
    async with serving(back_end.settings(data, metrics_listen="127.0.0.1:0")) as server, Caller(server.address) as bank:
        await server.ready()
        yield bank, server.metrics_address


async def until_held(metrics: str) -> None:
    async with asyncio.timeout(15):
        while not all(count for lease, count in (await samples(metrics, HELD)).items() if lease != REBUILD):
            pass


async def test_a_lease_is_held_by_one_instance_and_then_by_the_other(database: str, tmp_path: Path) -> None:
    async with eventstoredb() as server:
        back_end = BackEnd(server.uri, database)
        async with instance(back_end, tmp_path / "other") as (_, other):
            async with instance(back_end, tmp_path / "first") as (_, first):
                held = [await samples(metrics, HELD) for metrics in (first, other)]
                assert set(held[0]) == set(held[1]) == {*LEASES, REBUILD}
                assert {held[0][lease] + held[1][lease] for lease in LEASES} == {1}
                changes = await samples(other, "openbank_lease_changes_total")
                assert changes == held[1]
            await until_held(other)
            changes = await samples(other, "openbank_lease_changes_total")
            assert {changes[lease] for lease in LEASES} == {1}


async def test_a_store_that_is_away_is_down_and_its_return_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "BACKOFF_SECONDS_MAX", 0.2)
    with EventStoreDBProcess(tmp_path / "log") as server:
        async with instance(BackEnd(server.uri), tmp_path / "data") as (bank, metrics):
            account_id = (await bank.open()).account.account_id
            assert await value(metrics, "openbank_commit_duration_seconds_count") > 0
            assert await value(metrics, "openbank_store_up", "events") == 1
            server.kill()
            async with asyncio.timeout(10):
                while await value(metrics, "openbank_store_up", "events"):
                    pass
            assert await value(metrics, "openbank_store_reconnects_total") == 0
            # Health reports are made once a second.
            async with asyncio.timeout(10):
                while await value(metrics, "openbank_serving", "commands"):
                    pass
            assert await value(metrics, "openbank_serving", "queries") == 1
            assert (await refused(bank.deposit(account_id, "1"))).reason == "STORE_UNAVAILABLE"
            assert await value(metrics, "openbank_refusals_total", "STORE_UNAVAILABLE") == 1
            server.start()
            async with asyncio.timeout(20):
                while not await value(metrics, "openbank_store_up", "events"):
                    pass
            assert await value(metrics, "openbank_store_reconnects_total") == 1


async def test_another_writer_is_a_conflict(tmp_path: Path) -> None:
    async with eventstoredb() as server:
        back_end = BackEnd(server.uri)
        async with (
            instance(back_end, tmp_path / "one") as (one, metrics),
            instance(back_end, tmp_path / "two") as (two, _),
        ):
            account_id = (await one.open()).account.account_id
            await two.deposit(account_id, "1")
            # Decided on what this instance remembers.
            await one.deposit(account_id, "1")
            assert await value(metrics, "openbank_append_conflicts_total") == 1

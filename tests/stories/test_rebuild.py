"""Views that are built again beside those that serve: nobody who calls the bank notices."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.operations.v1 import views_rebuild_pb2 as rebuilds
from openbank.operations.v1 import views_service_pb2 as views
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.views import rebuilder
from tests.back_ends import BackEnd
from tests.callers import Caller, usd
from tests.servers import ServerProcess, run_openbank
from tests.stories.rebuilding_bank import MOMENTS

WAIT_SECONDS = 30
RUNNING = rebuilds.VIEWS_REBUILD_STATE_RUNNING
SUCCEEDED = rebuilds.VIEWS_REBUILD_STATE_SUCCEEDED
ACCOUNTS = [f"a{number}" for number in range(5)]


async def some_life(bank: Caller, deposits: int = 20) -> None:
    for number in range(3):
        await bank.register(person_id=f"p{number}")
    for account_id in ACCOUNTS:
        await bank.open("p0", account_id=account_id, initial_deposit=usd("1"))
        await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(deposits)))


async def get_rebuild(bank: Caller) -> Any:
    return (await bank.views.GetRebuild(views.GetRebuildRequest())).rebuild


async def rebuilt(bank: Caller) -> Any:
    """Once it has ended."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            rebuild = await get_rebuild(bank)
            if rebuild.state != RUNNING:
                return rebuild
            await asyncio.sleep(0.02)


async def balance_holds(bank: Caller, account_id: str) -> None:
    paid = await bank.deposit(account_id, "1")
    assert await bank.balance(account_id, paid.consistency_token) == f"{paid.account.revision}.00 USD"


async def test_reads_and_writes_continue_through_a_rebuild(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilder, "BATCH_EVENTS_MAX", 20)
    async with serving(settings) as server, Caller(server.address) as bank:
        await some_life(bank)
        everybody = await bank.persons.ListPersons(persons.ListPersonsRequest())
        first = await bank.persons.ListPersons(persons.ListPersonsRequest(page_size=1))
        assert (await get_rebuild(bank)).state == rebuilds.VIEWS_REBUILD_STATE_UNSPECIFIED
        started = await asyncio.gather(*(bank.views.StartRebuild(views.StartRebuildRequest()) for _ in range(2)))
        assert {one.rebuild.state for one in started} == {RUNNING}
        assert started[0].rebuild.start_time == started[1].rebuild.start_time
        turns = 0
        while (rebuild := await get_rebuild(bank)).state == RUNNING or turns < 3:
            await asyncio.gather(*(balance_holds(bank, account_id) for account_id in ACCOUNTS))
            turns += 1
        assert (rebuild.state, rebuild.failure) == (SUCCEEDED, "")
        assert rebuild.start_time == started[0].rebuild.start_time
        rest = persons.ListPersonsRequest(page_size=10, page_token=first.next_page_token)
        found = [*first.persons, *(await bank.persons.ListPersons(rest)).persons]
        assert found == list(everybody.persons)
        for account_id in ACCOUNTS:
            await balance_holds(bank, account_id)
            listed = await bank.accounts.ListAccountEvents(
                accounts.ListAccountEventsRequest(account_id=account_id, page_size=100)
            )
            count = len(listed.events)
            assert [event.revision for event in listed.events] == list(range(count, 0, -1))
        state = await bank.views.GetRebuild(views.GetRebuildRequest())
        assert state.serving_position <= state.head_position
    async with serving(settings) as server, Caller(server.address) as bank:
        assert await get_rebuild(bank) == rebuild
        for account_id in ACCOUNTS:
            await balance_holds(bank, account_id)


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_kill_at_any_moment_leaves_old_or_new_views_and_the_rebuild_continues(
    back_end: BackEnd, tmp_path: Path, moment: str
) -> None:
    data = tmp_path / "data"
    module, environment = "tests.stories.rebuilding_bank", {"KILL_AT": moment}
    dying = ServerProcess(data, *back_end.flags, module=module, environment=environment)
    await dying.start()
    async with Caller(dying.address) as bank:
        await some_life(bank, deposits=5)
        try:
            await bank.views.StartRebuild(views.StartRebuildRequest())
        except grpc.RpcError:
            assert moment == "begun"
    await asyncio.wait_for(dying.ended(), WAIT_SECONDS)
    bank_process = ServerProcess(data, *back_end.flags)
    await bank_process.start()
    try:
        async with Caller(bank_process.address) as bank:
            # Served at once, and not once the rebuild is done.
            assert await bank.balance("a0") == "6.00 USD"
            assert (await rebuilt(bank)).state == SUCCEEDED
            for account_id in ACCOUNTS:
                await balance_holds(bank, account_id)
        assert not list(data.glob("views-next.db*"))
        assert not list(data.glob("*set-aside"))
        assert bank_process.said("views are rebuilt") == []
    finally:
        await bank_process.stop()


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
async def test_views_that_were_changed_are_mended_by_a_rebuild(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as bank:
        await some_life(bank)
        with closing(sqlite3.connect(tmp_path / "data" / "views.db")) as views_db, views_db:
            views_db.execute("UPDATE accounts SET balance = 100, available = 100 WHERE account_id = 'a1'")
        assert await bank.balance("a1") == "1.00 USD"
        code, out, err = await run_openbank("rebuild", "--target", process.address)
        assert (code, err) == (0, "")
        assert out.startswith("rebuild is RUNNING\n  started   ")
        assert (await rebuilt(bank)).state == SUCCEEDED
        assert await bank.balance("a1") == "21.00 USD"
        code, out, err = await run_openbank("rebuild", "--status", "--target", process.address)
        assert (code, err) == (0, "")
        assert out.startswith("rebuild is SUCCEEDED\n")
        assert out.splitlines()[-1] == "  serving   views at position 113 of 113"
    assert [line["position"] for line in process.said("rebuilt views serve")] == [113]

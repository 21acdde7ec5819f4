"""Views are rebuilt beside those that serve: callers do not notice."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.operations.v1 import views_rebuild_pb2 as rebuilds
from openbank.operations.v1 import views_service_pb2 as views
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.views import rebuilder
from openbank.views.sqlite import NEXT_FILE, SqliteRebuilds, SqliteViews
from openbank.views.sqlite import views as sqlite_views
from openbank.views.sqlite.schema import replace_file
from tests.callers import Caller, usd
from tests.servers import ServerProcess, run_openbank

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
                accounts.ListAccountEventsRequest(account_id=account_id, page_size=1000)
            )
            count = len(listed.events)
            assert [event.revision for event in listed.events] == list(range(count, 0, -1))
        state = await bank.views.GetRebuild(views.GetRebuildRequest())
        assert state.serving_position <= state.head_position
    async with serving(settings) as server, Caller(server.address) as bank:
        assert await get_rebuild(bank) == rebuild
        for account_id in ACCOUNTS:
            await balance_holds(bank, account_id)


@pytest.mark.parametrize("chosen", ["servers"], indirect=True)
async def test_a_rebuild_asked_of_one_instance_is_seen_and_used_by_all(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(settings)) for _ in range(2)]
        one, other = [await stack.enter_async_context(Caller(server.address)) for server in servers]
        await some_life(one)
        started = (await one.views.StartRebuild(views.StartRebuildRequest())).rebuild
        async with asyncio.timeout(WAIT_SECONDS):
            while (seen := await get_rebuild(other)).state != SUCCEEDED:
                await asyncio.gather(balance_holds(one, "a0"), balance_holds(other, "a1"))
        assert seen.start_time == started.start_time
        assert await rebuilt(one) == seen
        for bank in (one, other):
            await balance_holds(bank, "a1")
        again = (await other.views.StartRebuild(views.StartRebuildRequest())).rebuild
        assert (again.state, again.start_time != started.start_time) == (RUNNING, True)
        assert (await rebuilt(other)).state == SUCCEEDED


class Kills:
    """Copies the bank's directory at moments of a rebuild: what a kill at that moment leaves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.left: dict[str, Settings] = {}

    def at(self, moment: str) -> None:
        data = self._settings.data.with_name(moment)
        if moment not in self.left:
            shutil.copytree(self._settings.data, data)
            self.left[moment] = replace(self._settings, data=data)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keep, project, switch = SqliteViews.keep_rebuild, SqliteViews.project, SqliteRebuilds.switch

        async def keeping(views: SqliteViews, record: Any) -> None:
            await keep(views, record)
            self.at("begun" if record.running else "filled")

        async def projecting(views: SqliteViews, *arguments: Any) -> None:
            await project(views, *arguments)
            if views._path.name == NEXT_FILE:
                self.at("filling")

        def replacing(path: Path, other: Path) -> None:
            self.at("closed")
            replace_file(path, other)
            self.at("renamed")

        async def switching(rebuilds: SqliteRebuilds, *arguments: Any) -> bool:
            done = await switch(rebuilds, *arguments)
            if done:
                self.at("serving")
            return done

        monkeypatch.setattr(SqliteViews, "keep_rebuild", keeping)
        monkeypatch.setattr(SqliteViews, "project", projecting)
        monkeypatch.setattr(SqliteRebuilds, "switch", switching)
        monkeypatch.setattr(sqlite_views, "replace_file", replacing)


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
async def test_a_kill_at_any_moment_leaves_old_or_new_views_and_the_rebuild_continues(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rebuilder, "BATCH_EVENTS_MAX", 20)
    kills = Kills(settings)
    with monkeypatch.context() as watched:
        kills.watch(watched)
        async with serving(settings) as server, Caller(server.address) as bank:
            await some_life(bank, deposits=5)
            await bank.views.StartRebuild(views.StartRebuildRequest())
            assert (await rebuilt(bank)).state == SUCCEEDED
    assert set(kills.left) == {"begun", "filling", "filled", "closed", "renamed", "serving"}
    for killed in kills.left.values():
        async with serving(killed) as server, Caller(server.address) as bank:
            # Served at once, and not once the rebuild is done.
            assert await bank.balance("a0") == "6.00 USD"
            assert (await rebuilt(bank)).state == SUCCEEDED
            for account_id in ACCOUNTS:
                await balance_holds(bank, account_id)
        assert not list(killed.data.glob("views-next.db*"))
        assert not list(killed.data.glob("*set-aside"))
    assert "views are rebuilt" not in [record.message for record in caplog.records]


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


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
async def test_the_page_shows_what_the_command_prints(process: ServerProcess) -> None:
    page = (Path(__file__).parents[2] / "docs/rebuild.md").read_text()
    shown = re.findall(r"^\$ openbank (rebuild[^\n]*)\n(.*?)(?=^\$|^```)", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    async with Caller(process.address) as bank:
        await some_life(bank)
        for command, output in (shown[0], shown[-1]):
            code, out, _ = await run_openbank(*command.replace("127.0.0.1:50051", process.address).split())
            assert code == 0
            assert without_figures(out) == without_figures(output)
            await rebuilt(bank)
    for message in ("rebuild of the views begins", "rebuilt views serve"):
        [line] = process.said(message)
        names = [name for name in line if name not in ("time", "level", "logger", "message")]
        assert f"{message} {' '.join(f'{name}=0' for name in names)}\n" in without_figures(page)


def without_figures(text: str) -> str:
    return re.sub(r"\d+", "0", text)

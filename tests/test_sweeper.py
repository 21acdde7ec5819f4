"""The sweeper: which accounts it looks at, and what it does not let itself be held up by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

import pytest

from openbank import sweeper as module
from openbank.domain.errors import AccountNotFound
from openbank.eventstore.errors import NewerVersionNeeded, OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.sweeper import Sweeper
from openbank.views.port import DueHold, Views, ViewsUnavailable
from tests.callers import until

NOW = 1_000
PAGE, TOGETHER = 20, 4


class Pointers:
    """Views that know open holds."""

    def __init__(self, *holds: DueHold) -> None:
        self.holds = sorted(holds)
        self.asked = 0
        self.error: Exception | None = None

    async def due_holds(self, time: int, after: DueHold, limit: int) -> Sequence[DueHold]:
        self.asked += 1
        if self.error:
            raise self.error
        later = [hold for hold in self.holds if hold.expire_time <= time and hold[:2] > after[:2]]
        return later[:limit]


class Accounts:
    """In the place of `expire_holds`: notes whose holds it ended, takes them out of the views, and fails for some."""

    def __init__(self, views: Pointers) -> None:
        self.views = views
        self.failing: dict[str, Exception] = {}
        self.tried: list[str] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, _: Any, account_id: str) -> None:
        self.tried.append(account_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if account_id in self.failing:
            raise self.failing[account_id].with_traceback(None)
        self.views.holds = [hold for hold in self.views.holds if hold.account_id != account_id]


class Bank:
    @staticmethod
    def clock() -> int:
        return NOW


@pytest.fixture
def views() -> Pointers:
    return Pointers()


@pytest.fixture
def accounts(views: Pointers, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    accounts = Accounts(views)
    monkeypatch.setattr(module, "expire_holds", accounts)
    return accounts


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_SECONDS", 0.001)
    monkeypatch.setattr(module, "PAGE", PAGE)
    monkeypatch.setattr(module, "TOGETHER", TOGETHER)


def new_sweeper(views: Pointers, *, is_current: bool = True) -> Sweeper:
    async def give_way() -> None:
        await asyncio.sleep(0)

    return Sweeper(cast(Views, views), cast(Any, Bank), lambda: is_current, give_way)


def due(count: int, name: str = "a") -> list[DueHold]:
    return [DueHold(NOW - 1, number, f"{name}-{number}") for number in range(1, count + 1)]


async def swept(sweeper: Sweeper) -> None:
    while await sweeper.sweep_page():
        pass


async def test_only_accounts_with_holds_that_are_due_are_written_each_once(views: Pointers, accounts: Accounts) -> None:
    views.holds = [DueHold(NOW - 2, 1, "a"), DueHold(NOW, 2, "b"), DueHold(NOW, 3, "a"), DueHold(NOW + 1, 4, "c")]
    await swept(new_sweeper(views))
    assert accounts.tried == ["a", "b"]


async def test_a_page_is_swept_some_accounts_at_a_time(views: Pointers, accounts: Accounts) -> None:
    views.holds = due(PAGE + 3)
    sweeper = new_sweeper(views)
    assert await sweeper.sweep_page()
    assert len(accounts.tried) == PAGE
    assert accounts.most_at_once == TOGETHER
    assert not await sweeper.sweep_page()
    assert len(accounts.tried) == PAGE + 3


@pytest.mark.parametrize(
    "error",
    [
        AccountNotFound("a-1"),
        StoreDamaged("x"),
        NewerVersionNeeded("account-a-1", 3, "AccountPainted"),
        ValueError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_accounts_that_cannot_be_written_hold_up_no_other_and_wait_longer_each_time(
    views: Pointers, accounts: Accounts, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    views.holds = [*due(PAGE + 1), DueHold(NOW, PAGE + 2, "other")]
    accounts.failing = {f"a-{number}": error for number in range(1, PAGE + 2)}
    sweeper = new_sweeper(views)
    with caplog.at_level(logging.WARNING):
        await swept(sweeper)
    assert accounts.tried[-1] == "other"
    assert [record.message for record in caplog.records] == ["holds that are due can't be ended"] * (PAGE + 1)
    accounts.tried.clear()
    await swept(sweeper)
    assert accounts.tried == []
    loop = asyncio.get_running_loop()
    an_hour_later = loop.time() + 3600
    monkeypatch.setattr(loop, "time", lambda: an_hour_later)
    accounts.failing = {}
    await swept(sweeper)
    assert views.holds == []


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OutcomeUnknown("away")], ids=["away", "unknown"])
async def test_the_sweeper_waits_while_the_store_is_away_and_then_continues(
    views: Pointers, accounts: Accounts, error: Exception, caplog: Any
) -> None:
    views.holds = due(2)
    accounts.failing = {"a-1": error}
    task = asyncio.create_task(new_sweeper(views).run())
    await until(lambda: len(accounts.tried) > 4)
    assert [record.message for record in caplog.records] == ["sweeper waits"]
    accounts.failing = {}
    await until(lambda: not views.holds)
    task.cancel()


async def test_nothing_is_done_while_the_views_are_away_or_being_rebuilt(views: Pointers, accounts: Accounts) -> None:
    views.holds, views.error = due(2), ViewsUnavailable("away")
    away, rebuilt = new_sweeper(views), new_sweeper(views, is_current=False)
    tasks = [asyncio.create_task(sweeper.run()) for sweeper in (away, rebuilt)]
    await until(lambda: views.asked > 2)
    assert accounts.tried == []
    tasks[0].cancel()
    views.error, asked = None, views.asked
    await asyncio.sleep(0.02)
    assert (accounts.tried, views.asked) == ([], asked)
    tasks[1].cancel()

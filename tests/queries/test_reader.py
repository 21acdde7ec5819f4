"""How fresh an answer is, and when "there is none" may be said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from openbank.domain.account import Account
from openbank.domain.errors import AccountNotFound, OwnerNotFound, PersonNotFound
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import PositionOutOfRange, StoreUnavailable
from openbank.eventstore.port import LogPosition
from openbank.eventstore.seal import NO_SEAL
from openbank.queries.accounts import (
    get_account,
    get_account_by_number,
    list_account_events,
    list_accounts_by_owner,
)
from openbank.queries.paging import Listing, PageRequest
from openbank.queries.persons import get_person, list_persons
from openbank.queries.reader import SOON_SECONDS, Reader, ViewBehind
from openbank.views.sqlite import SqliteViews
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, History, project_events, project_log

PAGE = PageRequest(Listing("any", "", None, NO_SEAL), 50, None)


class Scene:
    """A bank whose views lag until the test lets them catch up."""

    def __init__(self, views: SqliteViews) -> None:
        self.store = MemoryStore()
        self.history = History(self.store)
        self.views = views
        self.heads_asked = 0
        self.reader = Reader(views, self.head, wait_seconds=5)

    async def head(self) -> LogPosition:
        self.heads_asked += 1
        return await self.store.head()

    async def catch_up(self) -> None:
        await project_log(self.views, self.history)

    async def catch_up_soon(self) -> asyncio.Task[None]:
        async def later() -> None:
            await asyncio.sleep(0.02)
            await self.catch_up()

        return asyncio.create_task(later())


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    views = SqliteViews(tmp_path)
    await views.clear(LOG)
    scene = Scene(views)
    await scene.history.register("ann")
    await scene.history.open("1", "ann", "NO 93 8601")
    await scene.catch_up()
    yield scene
    await views.close()


def questions(reader: Reader, at: LogPosition) -> list[Awaitable[object]]:
    """One of each kind."""
    return [
        get_person(reader, "ann", at),
        list_persons(reader, PAGE, at),
        get_account(reader, "1", at),
        get_account_by_number(reader, "NO 93 8601", at),
        list_accounts_by_owner(reader, "ann", PAGE, at),
        list_account_events(reader, "1", PAGE, at),
    ]


async def test_an_answer_has_the_position_that_it_was_read_at(scene: Scene) -> None:
    account, position = await get_account(scene.reader, "1")
    assert account == scene.history.accounts["1"].resource
    assert position == await scene.store.head()
    person, position = await get_person(scene.reader, "ann")
    assert person == scene.history.persons["ann"].resource
    assert position == await scene.store.head()
    assert scene.heads_asked == 0


async def test_an_account_is_found_by_its_number_whatever_its_spaces_and_case(scene: Scene) -> None:
    account, _ = await get_account_by_number(scene.reader, " no938601 ")
    assert account == scene.history.accounts["1"].resource


async def test_without_a_token_a_read_may_lag(scene: Scene) -> None:
    await scene.history.deposit("1")
    account, position = await get_account(scene.reader, "1")
    assert account.revision == 1
    assert position.position < (await scene.store.head()).position


async def test_with_a_token_a_read_waits_for_what_the_caller_knows(scene: Scene) -> None:
    await scene.history.deposit("1")
    head = await scene.store.head()
    catching_up = await scene.catch_up_soon()
    account, position = await get_account(scene.reader, "1", head)
    assert account.revision == 2
    assert position == head
    await catching_up


async def test_the_answer_to_a_token_has_at_least_its_position(scene: Scene) -> None:
    first = LogPosition(1, "person-ann", 1)
    _, position = await get_person(scene.reader, "ann", first)
    assert position.position >= first.position


async def test_every_query_waits_for_a_token_and_says_when_the_views_are_behind(scene: Scene) -> None:
    await scene.history.deposit("1")
    for query in questions(scene.reader._replace(wait_seconds=0.01), await scene.store.head()):
        with pytest.raises(ViewBehind):
            await query


async def test_every_query_says_at_once_that_a_token_is_beyond_the_log(scene: Scene) -> None:
    async with asyncio.timeout(3):
        for query in questions(scene.reader, LogPosition(99, "account-1", 98)):
            with pytest.raises(PositionOutOfRange):
                await query


async def test_a_token_that_the_views_reach_soon_asks_the_store_nothing(scene: Scene) -> None:
    await scene.history.deposit("1")
    catching_up = await scene.catch_up_soon()
    await get_account(scene.reader, "1", await scene.store.head())
    assert scene.heads_asked == 0
    await catching_up


async def test_a_token_that_is_surely_in_the_log_asks_the_store_nothing_however_long_the_views_take(
    scene: Scene,
) -> None:
    await scene.history.deposit("1")
    head = await scene.store.head()
    reader = scene.reader._replace(wait_seconds=10 * SOON_SECONDS, is_in_log=lambda at: at.position <= head.position)
    reading = asyncio.create_task(get_account(reader, "1", head))
    await asyncio.sleep(2 * SOON_SECONDS)
    assert not reading.done()
    await scene.catch_up()
    assert (await reading).value.revision == 2
    assert not scene.heads_asked
    beyond = LogPosition(head.position + 1_000)
    with pytest.raises(PositionOutOfRange):
        await get_account(reader, "1", beyond)


async def test_a_read_that_the_views_cannot_serve_in_time_fails_at_once_and_says_when_to_retry(scene: Scene) -> None:
    await scene.history.deposit("1")
    for query in questions(scene.reader._replace(wait_seconds=60, seconds_to=lambda _: 75.2), await scene.store.head()):
        async with asyncio.timeout(30):
            with pytest.raises(ViewBehind) as caught:
                await query
        assert caught.value.metadata == {"retrySeconds": "76"}
        assert "about 76 s" in caught.value.message


async def test_views_that_may_come_in_time_are_waited_for(scene: Scene) -> None:
    await scene.history.deposit("1")
    catching_up = await scene.catch_up_soon()
    account, _ = await get_account(scene.reader._replace(seconds_to=lambda _: 1.5), "1", await scene.store.head())
    assert account.revision == 2
    await catching_up


async def test_a_waiting_read_fails_as_soon_as_it_is_known_to_wait_in_vain(scene: Scene) -> None:
    estimates = iter([None, 3.0, 90.0])
    await scene.history.deposit("1")
    reader = scene.reader._replace(wait_seconds=60, seconds_to=lambda _: next(estimates))
    async with asyncio.timeout(30):
        with pytest.raises(ViewBehind):
            await get_account(reader, "1", await scene.store.head())


async def test_while_the_store_is_away_views_may_still_reach_a_token(scene: Scene) -> None:
    async def away() -> LogPosition:
        raise StoreUnavailable

    with pytest.raises(ViewBehind):
        await get_account(scene.reader._replace(head=away, wait_seconds=0.01), "1", LogPosition(99))


async def test_a_caller_that_leaves_ends_the_wait(scene: Scene) -> None:
    asking = asyncio.create_task(get_account(scene.reader, "1", LogPosition(99)))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_resource_in_the_log_is_never_not_found(scene: Scene) -> None:
    await scene.history.register("bob")
    await scene.history.open("2", "bob", "NO 94")
    for question in (
        get_person(scene.reader, "bob"),
        get_account(scene.reader, "2"),
        get_account_by_number(scene.reader, "NO 94"),
        list_accounts_by_owner(scene.reader, "bob", PAGE),
        list_account_events(scene.reader, "2", PAGE),
    ):
        asking = asyncio.ensure_future(question)
        await asyncio.sleep(0.01)
        assert not asking.done()
        asking.cancel()
    catching_up = await scene.catch_up_soon()
    account, position = await get_account(scene.reader, "2")
    assert account == scene.history.accounts["2"].resource
    assert position == await scene.store.head()
    await catching_up


async def test_not_found_is_answered_as_of_the_head_when_the_call_came(scene: Scene) -> None:
    """Not as of a head that always runs ahead of the views."""
    await scene.history.deposit("1")
    events = await scene.history.events()

    async def head() -> LogPosition:
        head = await scene.store.head()
        await scene.history.deposit("1")
        return head

    asking = asyncio.create_task(get_person(scene.reader._replace(head=head), "nobody"))
    await asyncio.sleep(0.01)
    assert not asking.done()
    await project_events(scene.views, events)
    with pytest.raises(PersonNotFound):
        await asking


async def test_a_missing_resource_is_not_found(scene: Scene) -> None:
    with pytest.raises(PersonNotFound):
        await get_person(scene.reader, "nobody")
    with pytest.raises(AccountNotFound, match="id nothing"):
        await get_account(scene.reader, "nothing")
    with pytest.raises(AccountNotFound, match="number 0"):
        await get_account_by_number(scene.reader, "0")
    with pytest.raises(OwnerNotFound):
        await list_accounts_by_owner(scene.reader, "nobody", PAGE)
    with pytest.raises(AccountNotFound):
        await list_account_events(scene.reader, "nothing", PAGE)


async def test_a_person_without_accounts_has_an_empty_list_of_them(scene: Scene) -> None:
    await scene.history.register("bob")
    catching_up = await scene.catch_up_soon()
    page = await list_accounts_by_owner(scene.reader, "bob", PAGE)
    assert page == ([], "", await scene.store.head())
    await catching_up


async def test_a_read_of_views_that_stay_behind_is_unavailable_rather_than_not_found(scene: Scene) -> None:
    await scene.history.register("bob")
    with pytest.raises(ViewBehind):
        await get_person(scene.reader._replace(wait_seconds=0.01), "bob")


async def test_all_waits_of_a_question_together_are_bounded(scene: Scene) -> None:
    """A token to wait for, and then a head."""
    await scene.history.register("bob")
    token = await scene.store.head()
    await scene.history.register("eve")
    events = await scene.history.events()
    asking = asyncio.create_task(get_person(scene.reader._replace(wait_seconds=0.2), "eve", token))
    await asyncio.sleep(0.15)
    await project_events(scene.views, events[:-1])
    started = asyncio.get_running_loop().time()
    with pytest.raises(ViewBehind):
        await asking
    assert asyncio.get_running_loop().time() - started < 0.15


async def test_while_the_log_is_away_known_resources_are_read_and_unknown_ones_are_unavailable(scene: Scene) -> None:
    scene.store.go_away()
    account, _ = await get_account(scene.reader, "1")
    assert account == scene.history.accounts["1"].resource
    with pytest.raises(StoreUnavailable):
        await get_account(scene.reader, "2")


async def test_a_read_that_races_with_the_projector_is_never_older_than_it_says(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.history.deposit("1")
    before = scene.views.place
    read = scene.views.account

    async def slow_account(account_id: str) -> Versioned[Account] | None:
        account = await read(account_id)
        await scene.catch_up()
        return account

    monkeypatch.setattr(scene.views, "account", slow_account)
    account, position = await get_account(scene.reader, "1")
    assert account.revision == 1
    assert position == before
    assert scene.views.place == (await scene.history.events())[-1].place

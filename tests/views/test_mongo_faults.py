"""The views on MongoDB through failovers, lost connections, and a database that is not what it was.

All through a replica set of two members: `tests.stand_ins.mongo_set`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pymongo import MongoClient

from openbank.eventstore.streams import account_stream
from openbank.following import lease as leasing
from openbank.following.lease import Lease, Leased
from openbank.following.tail import LogTail
from openbank.views import projector as projecting
from openbank.views.matching import match_log
from openbank.views.mongo import MongoViews, checkpoint
from openbank.views.port import ViewsUnavailable
from tests.eventstore.memory import MemoryStore
from tests.stand_ins.mongo_copy import Documents, copy_of, put_back
from tests.stand_ins.mongo_set import (
    NOT_WRITABLE_PRIMARY,
    PRIMARY_STEPPED_DOWN,
    READS,
    WRITES,
    Fault,
    Kind,
    MongoSet,
    mongo_set,
)
from tests.views.histories import LOG, History, assert_holds, new_projector, project_events, project_log

PATIENCE_SECONDS = 30.0
BACK_SECONDS_MAX = 10.0
"""After which views answer again that were away, whatever it was."""
ROUNDS = 2


@pytest.fixture
def mongodb(mongo_java_server: str) -> str:
    """What the members ask. They all need no more than what either stand-in does."""
    return mongo_java_server


@pytest.fixture
def name() -> str:
    return f"openbank_test_{secrets.token_hex(4)}"


@pytest.fixture
def documents(mongodb: str, name: str) -> Iterator[Documents]:
    """What the server behind the set holds."""
    with MongoClient[dict[str, Any]](mongodb) as client:
        yield client[name]
        client.drop_database(name)


@pytest.fixture
async def database(mongodb: str) -> AsyncIterator[MongoSet]:
    async with mongo_set(mongodb) as database:
        yield database


@pytest.fixture
async def instance(database: MongoSet, name: str, documents: Documents) -> AsyncIterator[Open]:
    opened: list[MongoViews] = []

    async def instance() -> MongoViews:
        opened.append(await MongoViews.open(database.uri(name), wait_seconds=PATIENCE_SECONDS))
        return opened[-1]

    yield instance
    for views in opened:
        await views.close()


Open = Callable[[], Awaitable[MongoViews]]


@pytest.fixture
async def history() -> History:
    history = History(MemoryStore(step=10))
    await history.register("ann")
    for account_id in "123":
        await history.open(account_id, "ann")
    await pay(history, 10)
    return history


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "RETRY_SECONDS_MIN", 0.02)
    monkeypatch.setattr(projecting, "RETRY_SECONDS_MAX", 0.1)
    monkeypatch.setattr(leasing, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(leasing, "STANDSTILL_SECONDS", 2.0)


class TestFailover:
    @pytest.mark.parametrize("code", [NOT_WRITABLE_PRIMARY, PRIMARY_STEPPED_DOWN])
    async def test_a_write_refused_by_a_member_that_shuts_down_is_made_later(
        self, database: MongoSet, instance: Open, history: History, code: int
    ) -> None:
        faults: list[tuple[Kind, frozenset[str]]] = [("refuse", WRITES), ("refuse", READS), ("write_concern", WRITES)]
        async with two_projecting(instance, history) as both:
            for kind, commands in faults:
                fault = database.fail(kind, *commands, times=5, code=code)
                await pay(history, 5)
                await until_struck(fault, 5)
            await until_caught_up(both, history)
            for views in both:
                await until_holds(views, history)

    async def test_without_a_primary_reads_are_refused_and_with_the_next_one_they_are_answered(
        self, database: MongoSet, instance: Open, history: History
    ) -> None:
        async with two_projecting(instance, history) as both:
            await until_caught_up(both, history)
            for primary in (1, 0):
                database.elect(None)
                with pytest.raises(ViewsUnavailable):
                    await both[0].person("ann")
                await pay(history, 3)
                database.elect(primary)
                async with asyncio.timeout(BACK_SECONDS_MAX):
                    await until_caught_up(both, history)
                    await until_holds(both[0], history)


class TestNetwork:
    @pytest.mark.parametrize("kind", ["cut_before", "cut_after", "swallow"])
    async def test_writes_whose_outcome_is_unknown_are_neither_lost_nor_doubled(
        self, database: MongoSet, instance: Open, history: History, kind: Kind
    ) -> None:
        # Two in a row: the driver itself sends once more what was cut once.
        times, rounds = (1, 1) if kind == "swallow" else (3, ROUNDS)
        async with two_projecting(instance, history) as both:
            await until_caught_up(both, history)
            for _ in range(rounds):
                fault = database.fail(kind, *WRITES, times=times)
                await pay(history, 3)
                await until_struck(fault, times)
            await until_caught_up(both, history)
            for views in both:
                await until_holds(views, history)

    async def test_connections_whose_peer_is_gone_without_a_word_are_replaced(
        self, database: MongoSet, instance: Open, history: History
    ) -> None:
        async with two_projecting(instance, history) as both:
            await until_caught_up(both, history)
            # As many connections as the driver makes: each that is tried in vain takes seconds.
            database.pause()
            reads = asyncio.gather(*(both[0].person("ann") for _ in range(50)))
            await asyncio.sleep(0.3)
            database.resume()
            await reads
            database.lose_connections()
            await pay(history, 3)
            async with asyncio.timeout(BACK_SECONDS_MAX):
                await until_caught_up(both, history)
                await until_holds(both[0], history)


class TestAnotherDatabase:
    async def test_an_emptied_database_is_filled_again(
        self, instance: Open, history: History, documents: Documents, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with two_projecting(instance, history) as both:
            await until_caught_up(both, history)
            documents.client.drop_database(documents.name)
            await until(lambda: all(views.available and generation(views) > 1 for views in both))
            await pay(history, 3)
            await until_caught_up(both, history)
            for views in both:
                await until_holds(views, history)
        assert {"views unavailable", "views are rebuilt", "views available"} <= {one.message for one in caplog.records}

    async def test_an_older_database_is_rebuilt(
        self, instance: Open, history: History, documents: Documents, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with two_projecting(instance, history) as both:
            await until_caught_up(both, history)
            kept = copy_of(documents)
            await history.open("4", "ann")
            await pay(history, 10, "4")
            await until_caught_up(both, history)
            put_back(documents, kept)
            await pay(history, 10, "4")
            await until(lambda: all(generation(views) > 1 for views in both))
            await until_caught_up(both, history)
            for views in both:
                await until_holds(views, history)
        assert any("the views are older" in str(one.__dict__.get("values")) for one in caplog.records)

    async def test_a_read_of_an_older_database_is_not_answered_not_found(
        self, instance: Open, history: History, documents: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint, "IDLE_SECONDS", 3600.0)
        views = await instance()
        await match_log(views, history.store)
        kept = copy_of(documents)
        await project_log(views, history)
        recorded = await history.events_of("1")
        await asyncio.sleep(0.1)  # It idles, and does not look by itself.
        put_back(documents, kept)
        for read in (
            views.person("ann"),
            views.persons(0, 10),
            views.account_events("1", 100, 10),
            # A request that is not found is done again.
            views.find_requests(account_stream("1"), [event.metadata.request_id for event in recorded]),
        ):
            with pytest.raises(ViewsUnavailable, match="older"):
                await read
            views.link.trouble = None

    async def test_events_are_not_projected_over_a_gap(
        self, instance: Open, history: History, documents: Documents
    ) -> None:
        """As by a projector that has read on from where the views were before."""
        views = await instance()
        await match_log(views, history.store)
        late = await instance()
        events = await history.events()
        await project_events(views, events[:5])
        await until(lambda: late.place == events[4].place)
        await views.clear(LOG)
        for one in (late, views):
            with pytest.raises(ViewsUnavailable):
                await one.project([], events[-1].place, after=events[4].place)
        stored = documents["openbank_views"].find_one()
        assert stored is not None
        assert stored["position"] == 0

    async def test_a_stale_look_rebuilds_nothing(self, instance: Open, history: History) -> None:
        """As at a primary that has just been elected, which may not know yet what a majority has."""
        views = await instance()
        await match_log(views, history.store)
        await project_log(views, history)
        await views._begin_again()
        assert generation(views) == 1
        await assert_holds(views, history)


async def pay(history: History, times: int, account_ids: str = "123") -> None:
    chance = random.Random(14)
    for _ in range(times):
        await history.deposit(chance.choice(account_ids))
        await asyncio.sleep(0.005)


@asynccontextmanager
async def two_projecting(instance: Open, history: History) -> AsyncIterator[list[MongoViews]]:
    """Two instances, of which the one with the lease projects."""
    both = [await instance(), await instance()]
    async with AsyncExitStack() as stack:
        for views in both:
            await match_log(views, history.store)
            tail = LogTail(history.store)
            projector = new_projector(history.store, tail.reader(), views, batch_events_max=7)
            leased = Leased(Lease(views.lease()), projector.run)
            for work in (tail.run, leased.run):
                stack.push_async_callback(ended, asyncio.create_task(work()))
        yield both


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError), outcome


async def until_caught_up(both: list[MongoViews], history: History) -> None:
    head = await history.store.head()
    await until(lambda: all(views.available and views.place == head for views in both))


async def until_holds(views: MongoViews, history: History) -> None:
    """As soon as it answers at all: it may not, and then says so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await assert_holds(views, history)
            except ViewsUnavailable:
                await asyncio.sleep(0.05)


def generation(views: MongoViews) -> int:
    return views._checkpoint.generation


async def until_struck(fault: Fault, times: int) -> None:
    await until(lambda: fault.struck == times)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what others do is looked at
            await asyncio.sleep(0.005)

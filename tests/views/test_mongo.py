"""The views on MongoDB: on a real wire, with several instances at once, with kills and with the database away."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ConfigurationError

from openbank.domain.money import MAX_MINOR, Money
from openbank.eventstore.errors import NewerVersionNeeded, StoreRefused
from openbank.eventstore.port import BEGINNING, EventStore, LogPosition, RecordedEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.streams import account_stream
from openbank.following.tail import LogTail
from openbank.mongodb import link
from openbank.views import projector as projecting
from openbank.views.matching import match_log
from openbank.views.mongo import MongoViews, checkpoint
from openbank.views.mongo.generations import BULK_WRITES_MAX, Generations
from openbank.views.mongo.writes import ACCOUNTS, EVENTS, INDEXES, PERSONS
from openbank.views.port import LogId, Views, ViewsUnavailable
from openbank.views.projector import Projector
from openbank.views.rebuild import Rebuilds
from tests.eventstore.memory import MemoryStore
from tests.stand_ins.process import FerretDBProcess
from tests.views.conformance import STEPS, OpenViews, ViewsConformance, live
from tests.views.earlier import to_format_3
from tests.views.histories import (
    LOG,
    USD,
    History,
    assert_holds,
    changes_of,
    new_projector,
    project_events,
    project_log,
)
from tests.views.rebuilds import OpenRebuilds, RebuildConformance

PATIENCE_SECONDS = 20.0
OTHER_STORE = LogId(LOG.bank_id, "51" * 16)
OTHER_BANK = LogId("b1" * 16, "52" * 16)

Open = Callable[[], Awaitable[MongoViews]]
Documents = Database[dict[str, Any]]


@pytest.fixture
def mongodb(every_mongodb: str) -> str:
    return every_mongodb


class TestMongoViews(ViewsConformance):
    @pytest.fixture
    def open_views(self, database: str) -> OpenViews:
        async def open_views() -> Views:
            return await MongoViews.open(database)

        return open_views


class TestMongoRebuilds(RebuildConformance):
    @pytest.fixture
    def open_rebuilds(self, database: str) -> OpenRebuilds:
        async def open_rebuilds() -> tuple[Views, Rebuilds]:
            views = await MongoViews.open(database)
            return views, views.rebuilds()

        return open_rebuilds

    @pytest.fixture
    def make_earlier(self, documents: Documents) -> Callable[[], None]:
        return lambda: to_format_3(documents, 1)


async def until_matched(views: Views, store: EventStore) -> None:
    """As a start does it: the other one may just be dropping what this one drops."""
    while True:
        with suppress(ViewsUnavailable):
            return await match_log(views, store)
        await asyncio.sleep(0.02)


@pytest.fixture
async def instance(database: str) -> AsyncIterator[Open]:
    """Opens the views as one more instance does."""
    opened: list[MongoViews] = []

    async def instance() -> MongoViews:
        opened.append(await MongoViews.open(database))
        return opened[-1]

    yield instance
    for views in opened:
        await views.close()


@pytest.fixture
async def views(instance: Open) -> MongoViews:
    views = await instance()
    await views.clear(LOG)
    return views


@pytest.fixture
def documents(database: str) -> Any:
    with MongoClient[dict[str, Any]](database) as client:
        yield client.get_default_database()


@pytest.fixture
async def history() -> History:
    """Ann, Bob, three accounts, and some money."""
    history = History(MemoryStore(step=10))
    await some_life(history)
    return history


class TestDocuments:
    async def test_a_generation_has_its_indexes(self, views: MongoViews, documents: Documents) -> None:
        for name, indexes in ((name, indexes) for name, indexes in INDEXES.items() if indexes):
            there = [list(index["key"].items()) for index in documents[f"{name}_1"].list_indexes()]
            assert sorted(there) == sorted([[("_id", 1)], *(list(keys.items()) for keys in indexes)])

    async def test_small_integers_are_stored_in_64_bits_too(
        self, views: MongoViews, documents: Documents, history: History
    ) -> None:
        await history.open("large", "ann", deposit=Money(USD, MAX_MINOR))
        await project_log(views, history)
        for account in documents[f"{ACCOUNTS}_1"].find():
            assert {type(account[name]) for name in ("balance", "position", "revision", "update_time")} == {Int64}
        stored = documents["openbank_views"].find_one()
        assert stored is not None
        assert {type(stored[name]) for name in ("position", "revision", "generation")} == {Int64}

    async def test_more_than_one_message_holds_is_written_whole(self, views: MongoViews) -> None:
        history = History(MemoryStore())
        await history.register("ann")
        await history.open("1", "ann")
        for _ in range(BULK_WRITES_MAX + 1):
            await history.deposit("1")
        await project_log(views, history)
        await assert_holds(views, history)


class TestSeveralInstances:
    async def test_instances_that_start_at_once_share_one_generation(
        self, instance: Open, documents: Documents
    ) -> None:
        started = await asyncio.gather(*(instance() for _ in range(4)))
        await asyncio.gather(*(views.clear(LOG) for views in started))
        assert [(views.log, views.place) for views in started] == [(LOG, BEGINNING)] * 4
        assert generations(documents) == {1}

    @given(steps=STEPS, seed=st.randoms(use_true_random=False))
    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_two_that_project_at_once_with_redeliveries_double_nothing(
        self, views: MongoViews, instance: Open, steps: list[tuple[str, str]], seed: random.Random
    ) -> None:
        await views.clear(LOG)
        other = await instance()
        history = History(MemoryStore(step=10))
        await live(history, steps)
        events = await history.events()

        async def project(one: MongoViews, cuts: Sequence[int]) -> None:
            done = 0
            for cut in [*cuts, len(events)]:
                if cut > done:
                    again = seed.sample(events[:cut], min(cut, 2))
                    await one.project(changes_of([*events[done:cut], *again]), events[cut - 1].place)
                    done = cut

        cuts = [sorted(seed.sample(range(1, len(events)), min(3, len(events) - 1))) for _ in range(2)]
        await asyncio.gather(project(views, cuts[0]), project(other, cuts[1]))
        for one in (views, other):
            await assert_holds(one, history)
            assert one.place == events[-1].place
        await other.close()

    async def test_a_slow_instance_moves_nothing_back(
        self, views: MongoViews, instance: Open, history: History
    ) -> None:
        slow = await instance()
        await project_log(views, history)
        for event in await history.events():
            await project_events(slow, [event])
        assert slow.place == views.place
        await assert_holds(slow, history)
        assert (await instance()).place == views.place

    async def test_a_waiting_instance_learns_what_another_has_projected(
        self, views: MongoViews, instance: Open, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint, "IDLE_SECONDS", PATIENCE_SECONDS)
        other = await instance()
        await asyncio.sleep(0.1)  # It idles, until somebody waits.
        place = (await history.events())[-1].place
        waiting = [asyncio.create_task(other.wait_for(place.position)) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert not any(wait.done() for wait in waiting)
        await project_log(views, history)
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS / 2)
        assert other.place == place
        await assert_holds(other, history)

    async def test_many_waiting_callers_share_one_question(
        self, views: MongoViews, instance: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = await instance()
        asked = counting(monkeypatch, other)
        waiting = [asyncio.create_task(other.wait_for(7)) for _ in range(100)]
        await asyncio.sleep(1)
        assert len(asked) < 1 / checkpoint.POLL_SECONDS_MIN / 2
        for wait in waiting:
            wait.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_the_position_is_followed_without_a_waiting_caller(
        self, views: MongoViews, instance: Open, history: History
    ) -> None:
        other = await instance()
        await project_log(views, history)
        await until(lambda: other.place == views.place)


class TestCrashes:
    async def test_data_without_their_checkpoint_are_written_again_without_harm(
        self, instance: Open, history: History
    ) -> None:
        """Cut off at every call in turn."""
        events = await history.events()
        calls = 0
        finished = False
        while not finished:
            views = await instance()
            await views.clear(LOG)
            await project_events(views, events[:4])
            finished = not await dies(views, after_calls=calls, during=project_events(views, events[4:]))
            successor = await instance()
            last = events[-1] if finished else events[3]
            assert successor.place == last.place
            await project_events(successor, [event for event in events if event.position > last.position] or events)
            await assert_holds(successor, history)
            calls += 1
        assert calls > 4

    async def test_totals_are_not_counted_from_the_answer_of_a_primary_that_was_replaced(
        self, instance: Open, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Outdated:
            """It has none of the accounts."""

            def find(self, *_: Any) -> Outdated:
                return self

            async def to_list(self, _: Any) -> list[Any]:
                return []

        accounts = Generations._accounts
        monkeypatch.setattr(
            Generations,
            "_accounts",
            lambda self, generation, level: Outdated() if level == "majority" else accounts(self, generation, level),
        )
        events = await history.events()
        views = await instance()
        await views.clear(LOG)
        for start in range(0, len(events), 3):
            await project_events(views, events[start : start + 3])
        await assert_holds(views, history)

    async def test_a_database_that_is_killed_again_and_again_loses_and_doubles_nothing(
        self, ferretdb: FerretDBProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(projecting, "RETRY_SECONDS_MIN", 0.02)
        monkeypatch.setattr(projecting, "RETRY_SECONDS_MAX", 0.1)
        store = MemoryStore(step=10)
        history = History(store)
        await some_life(history)
        chance = random.Random(7)
        async with opened(ferretdb) as one, opened(ferretdb) as other:
            await match_log(one, store)
            await match_log(other, store)
            async with projected(store, one), projected(store, other):
                for _ in range(5):
                    for _ in range(20):
                        await history.deposit(chance.choice("123"))
                        await asyncio.sleep(chance.uniform(0, 0.01))
                    ferretdb.kill()
                    await history.move("ann", f"{chance.random()} Street")
                    await asyncio.to_thread(ferretdb.start)
                head = await store.head()
                await until(lambda: one.place == other.place == head)
            await assert_holds(one, history)
            await assert_holds(other, history)


class TestRebuilding:
    async def test_views_of_another_store_of_the_bank_are_rebuilt_and_the_old_ones_removed(
        self, views: MongoViews, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        history.store.store_id = OTHER_STORE.store_id
        await match_log(views, history.store)
        assert (views.log, views.place) == (OTHER_STORE, BEGINNING)
        assert await views.person("ann") is None
        await project_log(views, history)
        await assert_holds(views, history)
        assert generations(documents) == {2}

    async def test_two_that_rebuild_at_once_share_the_next_generation(
        self, views: MongoViews, instance: Open, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        both = [await instance(), await instance()]
        history.store.store_id = OTHER_STORE.store_id
        await asyncio.gather(*(until_matched(one, history.store) for one in both))
        await asyncio.gather(*(project_log(one, history) for one in both))
        for one in both:
            await assert_holds(one, history)
        assert generations(documents) == {2}

    async def test_views_filled_by_one_instance_are_not_cleared_by_a_late_one(
        self, views: MongoViews, instance: Open, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The late one is to find out by its own `clear`, not by a look at the wrong moment.
        monkeypatch.setattr(checkpoint, "IDLE_SECONDS", 3600.0)
        late = await instance()
        early = await instance()
        await early.clear(OTHER_STORE)
        await project_log(early, history)
        await late.clear(OTHER_STORE)
        assert late.place == early.place
        await assert_holds(late, history)

    async def test_a_running_instance_switches_by_itself(
        self, views: MongoViews, instance: Open, history: History
    ) -> None:
        await project_log(views, history)
        restarted = await instance()
        await restarted.clear(LOG)
        await until(lambda: views.place == BEGINNING)
        await project_log(restarted, history)
        await views.wait_for(restarted.place.position)
        await assert_holds(views, history)

    async def test_a_read_of_a_dropped_generation_is_not_answered_not_found(
        self, views: MongoViews, instance: Open, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint, "IDLE_SECONDS", 3600.0)
        unaware = await instance()
        await project_log(unaware, history)
        await asyncio.sleep(0.1)  # It has begun to idle, and will not look by itself.
        await (await instance()).clear(LOG)
        for read in (
            unaware.person("ann"),
            unaware.persons(0, 10),
            unaware.account_events("1", 100, 10),
            unaware.find_requests("account-1", [b"1" * 16]),
        ):
            unaware._checkpoint.generation, unaware._checkpoint.place = 1, history_end(await history.events())
            with pytest.raises(ViewsUnavailable, match="a rebuild of the views began"):
                await read

    async def test_a_projector_that_comes_late_moves_only_what_is_its_own(
        self, views: MongoViews, instance: Open, documents: Documents, history: History
    ) -> None:
        late = await instance()
        events = await history.events()
        await project_events(late, events[:5])
        await views.clear(LOG)
        assert generations(documents) == {2}
        late._checkpoint.generation = 1
        with pytest.raises(ViewsUnavailable, match="a rebuild of the views began"):
            await project_events(late, events[5:])
        assert (late.place, views.place) == (BEGINNING, BEGINNING)
        await project_events(late, events)
        await assert_holds(late, history)
        assert generations(documents) == {2}

    async def test_leftovers_of_a_dropped_database_are_not_taken_for_views(
        self, views: MongoViews, instance: Open, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        await views.close()
        documents["openbank_views"].drop()
        again = await instance()
        assert again.log is None
        await again.clear(LOG)
        assert await again.person("ann") is None
        assert generations(documents) == {2}


class TestRefusals:
    async def test_views_of_another_bank_are_refused_and_left_alone(
        self, views: MongoViews, instance: Open, history: History
    ) -> None:
        await project_log(views, history)
        theirs = await instance()
        store = MemoryStore()
        store.bank_id, store.store_id = OTHER_BANK
        with pytest.raises(StoreRefused, match=f"to the bank {LOG.bank_id}, not to {OTHER_BANK.bank_id}"):
            await match_log(theirs, store)
        await assert_holds(views, history)

    async def test_one_of_two_banks_that_start_at_once_is_refused(self, instance: Open) -> None:
        ours, theirs = await instance(), await instance()
        await ours.clear(LOG)
        await asyncio.sleep(1.5 * checkpoint.IDLE_SECONDS)  # It has looked again.
        with pytest.raises(StoreRefused, match="another log"):
            await theirs.clear(OTHER_BANK)
        assert (await instance()).log == LOG

    async def test_views_of_a_newer_version_are_refused(
        self, views: MongoViews, instance: Open, documents: Documents
    ) -> None:
        documents["openbank_views"].update_one({}, {"$set": {"format": 99}, "$inc": {"generation": 1}})
        with pytest.raises(StoreRefused, match="format 99, written by a newer version"):
            await instance()
        await until(lambda: not views.available)
        with pytest.raises(ViewsUnavailable, match="newer version"):
            await views.person("ann")

    async def test_views_extended_by_a_newer_version_are_used(
        self, views: MongoViews, instance: Open, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        added = {"format": checkpoint.FORMAT + 1, "readable_from": checkpoint.FORMAT, "of_a_newer_version": 1}
        documents["openbank_views"].update_one({}, {"$set": added})
        documents["openbank_views"].insert_one({"_id": "transfers", "generation": 1})
        documents["openbank_transfers_1"].insert_one({"_id": "t-1"})
        documents["openbank_accounts_1"].update_many({}, {"$set": {"of_a_newer_version": 1}})
        documents["openbank_persons_1"].update_many({}, {"$set": {"address.of_a_newer_version": 1}})
        started = await instance()
        await match_log(started, history.store)
        for one in (views, started):
            await one.project([], one.place)
            await assert_holds(one, history)
        assert views.available
        assert documents["openbank_transfers_1"].count_documents({}) == 1

    async def test_an_account_in_a_state_of_a_newer_version_is_not_answered(
        self, views: MongoViews, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        documents["openbank_accounts_1"].update_one({"_id": "1"}, {"$set": {"state": "PAINTED"}})
        with pytest.raises(NewerVersionNeeded, match="account-1 has the state PAINTED"):
            await views.account("1")
        assert await views.account("2") is not None

    async def test_views_of_an_older_version_are_rebuilt(
        self, views: MongoViews, instance: Open, documents: Documents, history: History
    ) -> None:
        await project_log(views, history)
        documents["openbank_views"].update_one({}, {"$set": {"format": 0}})
        newer = await instance()
        await match_log(newer, history.store)
        assert (newer.log, newer.place) == (LOG, BEGINNING)
        assert generations(documents) == {2}

    async def test_another_programs_document_is_refused(self, instance: Open, documents: Documents) -> None:
        documents["openbank_views"].insert_one({"_id": "views", "of": "the harbour"})
        with pytest.raises(StoreRefused, match="not this program's"):
            await instance()

    @pytest.mark.parametrize("uri", ["http://localhost", "mongodb://", "mongodb://host/?tls=maybe"])
    async def test_an_unusable_uri_is_reported(self, uri: str) -> None:
        with pytest.raises(ViewsUnavailable, match="URI of the views"):
            await MongoViews.open(uri)


class TestRequests:
    async def test_an_accounts_requests_are_found_as_far_as_the_account_was_seen(
        self, views: MongoViews, history: History
    ) -> None:
        await project_log(views, history)
        recorded = await history.events_of("1")
        ids = [event.metadata.request_id for event in recorded]
        assert await views.find_requests(account_stream("1"), [ids[3], ids[1]]) == Indexed([2, 4], len(recorded))
        assert await views.find_requests(account_stream("1"), [b"unknown".ljust(16), b""]) == Indexed([], len(recorded))
        # A request id is an aggregate's own: another account's is another request.
        other = await history.events_of("2")
        assert await views.find_requests(account_stream("2"), ids) == Indexed([], len(other))

    async def test_nothing_was_seen_of_other_streams_and_unknown_accounts(
        self, views: MongoViews, history: History
    ) -> None:
        await project_log(views, history)
        for stream in ("person-ann", "request-x", "number-x", "account-unknown"):
            assert await views.find_requests(stream, [b"1" * 16]) == Indexed([], 0)

    async def test_an_index_never_claims_to_have_seen_more_than_it_has(self, instance: Open, history: History) -> None:
        """Cut off at every call in turn, the index knows of each request up to the revision that it names."""
        events = await history.events()
        recorded = await history.events_of("1")
        for calls in range(20):
            views = await instance()
            await views.clear(LOG)
            await dies(views, after_calls=calls, during=project_events(views, events))
            reader = await instance()
            found, through = await reader.find_requests(
                account_stream("1"), [event.metadata.request_id for event in recorded]
            )
            assert set(range(1, through + 1)) <= set(found)


class TestAway:
    async def test_a_dead_database_is_reported_at_once_and_used_again_when_it_is_back(
        self, ferretdb: FerretDBProcess, history: History, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(ferretdb) as views:
            await views.clear(LOG)
            await project_log(views, history)
            place = views.place
            waiting = asyncio.create_task(views.wait_for(place.position + 1))
            caplog.set_level(logging.INFO)
            ferretdb.kill()
            # One after another they would take CALL_SECONDS each.
            assert await seconds_to_refuse(views, calls=100) < PATIENCE_SECONDS
            with pytest.raises(ViewsUnavailable):
                await asyncio.wait_for(waiting, PATIENCE_SECONDS)
            assert await seconds_to_refuse(views, calls=1000) < PATIENCE_SECONDS
            for _ in range(20):
                assert await seconds_to_refuse(views, calls=1) < link.CALL_SECONDS
            with pytest.raises(ViewsUnavailable):
                await project_log(views, history)
            with pytest.raises(ViewsUnavailable):
                await views.wait_for(place.position + 1)
            await asyncio.sleep(1)
            ferretdb.start()
            await until(lambda: views.available)
            await assert_holds(views, history)
            await project_log(views, history)
            assert views.place == place
        lines = [record.message for record in caplog.records if record.name == checkpoint.__name__]
        assert lines == ["views unavailable", "views available"]

    async def test_a_hanging_database_is_given_up_once_for_all_callers(
        self, ferretdb: FerretDBProcess, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(link, "OPTIONS", link.OPTIONS | {"socketTimeoutMS": 2_000, "connectTimeoutMS": 2_000})
        async with opened(ferretdb) as views:
            await views.clear(LOG)
            await project_log(views, history)
            assert ferretdb.pid is not None
            os.kill(ferretdb.pid, signal.SIGSTOP)
            assert await seconds_to_refuse(views, calls=100) < PATIENCE_SECONDS
            assert await seconds_to_refuse(views, calls=1000) < PATIENCE_SECONDS
            os.kill(ferretdb.pid, signal.SIGCONT)
            await until(lambda: views.available)
            await assert_holds(views, history)

    async def test_a_start_waits_for_the_database(
        self, ferretdb: FerretDBProcess, history: History, caplog: pytest.LogCaptureFixture
    ) -> None:
        ferretdb.kill()
        uri = ferretdb.uri.replace("mongodb://", "mongodb://ann:secret@") + "/somewhere"
        with pytest.raises(ViewsUnavailable, match=f"MongoDB at {ferretdb.address}, database somewhere") as refused:
            await asyncio.wait_for(MongoViews.open(uri), 3)
        assert "secret" not in str(refused.value)
        opening = asyncio.create_task(MongoViews.open(ferretdb.uri, wait_seconds=PATIENCE_SECONDS))
        await until(lambda: bool(caplog.records))
        ferretdb.start()
        views = await asyncio.wait_for(opening, PATIENCE_SECONDS)
        await views.clear(LOG)
        await project_log(views, history)
        await views.close()
        assert [record.message for record in caplog.records] == ["waiting for the views"]

    async def test_closed_views_are_unavailable(self, views: MongoViews) -> None:
        await views.close()
        with pytest.raises(ViewsUnavailable):
            await views.person("ann")


@asynccontextmanager
async def opened(database: FerretDBProcess) -> AsyncIterator[MongoViews]:
    views = await MongoViews.open(database.uri)
    try:
        yield views
    finally:
        await views.close()


async def some_life(history: History) -> None:
    await history.register("ann")
    await history.register("bob")
    for account_id, owner_id in (("1", "ann"), ("2", "bob"), ("3", "ann")):
        await history.open(account_id, owner_id)
    for amount in range(1, 4):
        await history.deposit("1", amount)
        await history.deposit("2", 10 * amount)
    await history.withdraw("2", 30)
    await history.move("ann")


def history_end(events: Sequence[RecordedEvent]) -> LogPosition:
    return events[-1].place


def generations(documents: Documents) -> set[int]:
    names = documents.list_collection_names()
    return {int(name.rpartition("_")[2]) for name in names if name.startswith((PERSONS, ACCOUNTS, EVENTS))}


def counting(monkeypatch: pytest.MonkeyPatch, views: MongoViews) -> list[object]:
    """Grows with each call that these views make."""
    calls: list[object] = []
    probe = views._link.probe

    async def counted(call: Callable[[], Awaitable[Any]], *seconds: float) -> Any:
        calls.append(call)
        return await probe(call, *seconds)

    monkeypatch.setattr(views._link, "probe", counted)
    return calls


async def dies(views: MongoViews, after_calls: int, during: Awaitable[None]) -> bool:
    """Whether it came to that: the instance is gone after so many calls to the database."""
    left = after_calls
    call = views._link.call

    async def mortal(ask: Callable[[], Awaitable[Any]], *seconds: float) -> Any:
        nonlocal left
        if left == 0:
            raise ViewsUnavailable("died")
        left -= 1
        return await call(ask, *seconds)

    views._link.call = mortal  # type: ignore[assignment]
    try:
        await during
    except ViewsUnavailable:
        return True
    finally:
        await views.close()
    return False


async def seconds_to_refuse(views: MongoViews, calls: int) -> float:
    """How long it takes until that many callers at once have all learnt that the views are unavailable."""
    start = time.monotonic()
    answers = await asyncio.gather(*(views.person("ann") for _ in range(calls)), return_exceptions=True)
    assert all(isinstance(answer, ViewsUnavailable) for answer in answers)
    return time.monotonic() - start


@asynccontextmanager
async def projected(store: MemoryStore, views: Views) -> AsyncIterator[Projector]:
    tail = LogTail(store)
    projector = new_projector(store, tail.reader(), views, batch_events_max=7)
    tasks = [asyncio.create_task(tail.run()), asyncio.create_task(projector.run())]
    try:
        yield projector
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_SECONDS / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def test_the_servers_message_about_an_operation_is_not_repeated(database: str) -> None:
    """It quotes the operation, with all that a person told the bank."""
    views = await MongoViews.open(database)
    people = views.link.documents("people")
    await people.insert_one({"_id": "John Doe"})
    for call in (
        lambda: people.insert_one({"_id": "John Doe", "birth_date": "1990-01-31"}),
        lambda: people.insert_many([{"_id": "John Doe", "birth_date": "1990-01-31"}]),
        lambda: people.update_one({}, {"$no_such": {"full_name": "John Doe", "birth_date": "1990-01-31"}}),
    ):
        with pytest.raises(ViewsUnavailable) as refused:
            await views.link.call(call)
        assert "John" not in str(refused.value)
        assert "1990" not in str(refused.value)
        assert "Error" in str(refused.value)
    await views.close()


async def test_a_server_unknown_to_the_driver_is_refused_with_the_drivers_message(database: str) -> None:
    """Motor's and PyMongo's newest versions need a MongoDB that is not too old."""

    async def refuse() -> None:
        raise ConfigurationError(
            "Server at h:1 reports wire version 8, but this version of PyMongo requires at least 9"
        )

    views = await MongoViews.open(database)
    with pytest.raises(ViewsUnavailable, match="reports wire version 8"):
        await views.link.call(refuse)
    await views.close()

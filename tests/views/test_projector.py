"""The projector: it follows the log, keeps its place, and stops rather than guess."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from openbank.codec import events as codec
from openbank.domain.account_events import MoneyDeposited
from openbank.domain.money import Money
from openbank.eventstore.errors import NewerVersionNeeded, StoreDamaged, StoreRefused
from openbank.eventstore.port import (
    BEGINNING,
    EventStore,
    LogPosition,
    LogSlice,
    Metadata,
    NewEvent,
    RecordedEvent,
)
from openbank.eventstore.quarantine_record import SetAside
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.following.tail import LogTail
from openbank.integrity import quarantine as quarantining
from openbank.integrity.checking import Checked, Checker
from openbank.integrity.quarantine import Quarantine
from openbank.integrity.trail import UNKNOWN_TYPE
from openbank.views import matching
from openbank.views import projector as projecting
from openbank.views.changes import Change
from openbank.views.matching import match_log
from openbank.views.port import Views, ViewsDamaged, ViewsUnavailable
from openbank.views.projector import Projector
from openbank.views.sqlite import FILE, SqliteViews
from openbank.views.sqlite import rebuilds as rebuilding
from openbank.views.sqlite.rebuilds import SqliteRebuilds
from tests.eventstore.memory import MemoryStore
from tests.views.histories import EVERYTHING, LOG, START, History, assert_holds, new_projector, project_events

PATIENCE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "RETRY_SECONDS_MIN", 0.001)


@pytest.fixture(params=[1, 10], ids=["dense", "sparse"])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    return MemoryStore(step=request.param)


@pytest.fixture
def history(store: MemoryStore) -> History:
    return History(store)


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[FailingViews]:
    views = FailingViews(tmp_path)
    await views.clear(LOG)
    yield views
    await views.close()


async def test_it_projects_history_and_what_comes_after(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    async with running(store, views) as projector:
        await caught_up(store, views)
        await assert_holds(views, history)
        await history.deposit("1")
        await history.move("ann", "4 Other Street")
        await caught_up(store, views)
        await assert_holds(views, history)
        assert projector.failure is None
        assert projector.available


async def test_it_works_with_the_embedded_store(tmp_path: Path) -> None:
    store, views = SqliteEventStore(tmp_path), SqliteViews(tmp_path)
    await match_log(views, store)
    history = History(store)
    await some_life(history)
    async with running(store, views):
        await caught_up(store, views)
        await history.deposit("1")
        await caught_up(store, views)
    await assert_holds(views, history)
    await views.close()
    await store.close()


async def test_it_gives_way_after_each_slice_of_history(
    store: MemoryStore, history: History, views: FailingViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_life(history)
    monkeypatch.setattr(projecting, "SLICE_EVENTS", 3)
    done: list[str] = []

    class RecordingChecker(Checker):
        async def check(self, events: Sequence[RecordedEvent]) -> list[Checked]:
            done.append(f"{len(events)} events")
            return await super().check(events)

    async def give_way() -> None:
        done.append("gave way")

    quarantine = Quarantine(store, lambda: START)
    checker = RecordingChecker(store, quarantine, thorough=True)
    tail = LogTail(store)
    projector = Projector(tail.reader(), views, checker, quarantine, give_way=give_way)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(tail.run()), tasks.create_task(projector.run())]
        await caught_up(store, views)
        for task in running:
            task.cancel()
    await assert_holds(views, history)
    whole, left = divmod(len(await history.events()), 3)
    assert whole > 1
    slices = ["3 events"] * whole + [f"{left} events"] * bool(left)
    assert done == [step for one in slices for step in (one, "gave way")][:-1]


@pytest.mark.parametrize("batch_events_max", [1, 2, 3, 7])
async def test_the_size_of_batches_makes_no_difference(
    store: MemoryStore, history: History, views: FailingViews, batch_events_max: int
) -> None:
    await some_life(history)
    async with running(store, views, batch_events_max):
        await caught_up(store, views)
    await assert_holds(views, history)
    assert views.projected >= len(await history.events()) / batch_events_max


async def test_waiting_events_share_a_transaction(store: MemoryStore, history: History, views: FailingViews) -> None:
    await some_life(history)
    async with running(store, views):
        await caught_up(store, views)
    assert views.projected == 1


async def test_a_projector_continues_from_the_checkpoint_of_the_views(
    store: MemoryStore, history: History, tmp_path: Path
) -> None:
    first = SqliteViews(tmp_path)
    await match_log(first, store)
    await some_life(history)
    async with running(store, first):
        await caught_up(store, first)
    await first.close()
    await history.deposit("1")
    log = RecordingLog(LogTail(store))
    second = SqliteViews(tmp_path)
    await match_log(second, store)
    async with running(store, second, log=log):
        await caught_up(store, second)
    assert log.read_after[0] == first.place
    await assert_holds(second, history)
    await second.close()


async def test_events_of_other_programs_are_passed_and_counted(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await history.note("account-1", "$metadata")
    await history.note("orders-7", "OrderPlaced")
    await history.claim("3f2504e0-4f89-11d3-9a0c-0305e82c3301")
    store.pass_others()
    async with running(store, views) as projector:
        await caught_up(store, views)
        assert projector.skipped == 2
        assert projector.failure is None
    await assert_holds(views, history)


@pytest.mark.parametrize(
    ("type_name", "data", "reason"),
    [
        ("openbank.accounts.v1.MoneyDeposited", b"\xff", "its payload is not one of its type"),
        ("openbank.accounts.v1.MoneyDeposited", b"", "it is in another currency than the account"),
        ("openbank.persons.v1.PersonAddressUpdated", b"", "its type does not belong in the stream of an account"),
    ],
)
async def test_an_event_that_does_not_follow_stops_its_aggregate_alone(
    store: MemoryStore,
    history: History,
    views: FailingViews,
    caplog: pytest.LogCaptureFixture,
    type_name: str,
    data: bytes,
    reason: str,
) -> None:
    await some_life(history)
    before = history.accounts["1"].resource
    await history.note("account-1", type_name, data)
    poison = (await history.events())[-1]
    await history.deposit("2")
    await history.open("after", "ann")
    quarantine = Quarantine(store, lambda: 0)
    with caplog.at_level(logging.WARNING):
        async with running(store, views, quarantine=quarantine) as projector:
            await caught_up(store, views)
    assert projector.failure is None
    assert quarantine.aside == {"account-1": SetAside(poison.revision, poison.position, reason, 0)}
    assert [record.message for record in caplog.records] == ["aggregate quarantined"]
    assert await views.account("1") == before
    await assert_holds(views, history)


WITHDRAWN = "openbank.accounts.v1.MoneyWithdrawn"
"""To a version that does not know it, what a newer one has written."""


async def test_an_event_of_the_banks_in_a_stream_of_no_category_is_set_aside(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await history.note("-1", "openbank.accounts.v1.MoneyDeposited", b"{}")
    await some_life(history)
    quarantine = Quarantine(store, lambda: 0)
    async with running(store, views, quarantine=quarantine):
        await caught_up(store, views)
        assert set(quarantine.aside) == {"-1"}
    await assert_holds(views, history)


async def deposits_alone(history: History) -> int:
    """The position of the last event."""
    await history.register("ann")
    for account_id in ("1", "2"):
        await history.open(account_id, "ann")
        await history.deposit(account_id, 500)
    return (await history.events())[-1].position


@pytest.mark.parametrize("batch_events_max", [1, 2, 1000])
async def test_views_wait_before_an_event_of_a_newer_version_until_that_version_runs(
    store: MemoryStore, history: History, views: FailingViews, monkeypatch: pytest.MonkeyPatch, batch_events_max: int
) -> None:
    before = await deposits_alone(history)
    await history.withdraw("1")
    await history.deposit("1")
    await history.deposit("2")
    monkeypatch.setattr(codec, "ROWS", {name: row for name, row in codec.ROWS.items() if name != WITHDRAWN})
    quarantine = Quarantine(store, lambda: 0)
    async with running(store, views, batch_events_max, quarantine=quarantine) as projector:
        await until(lambda: projector.needs_newer_version)
        assert views.place.position == before
        assert projector.failure is None
    assert not quarantine.aside
    assert quarantine.checked <= before
    with pytest.raises(NewerVersionNeeded):
        quarantine.check("account-1")
    quarantine.check("account-2")
    monkeypatch.undo()
    async with running(store, views):
        await caught_up(store, views)
    await assert_holds(views, history)


async def test_an_append_with_an_event_of_a_newer_version_is_not_split(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    before = await deposits_alone(history)
    at = Metadata(START, owner_id="ann", parts=2)
    account = history.accounts["1"].resource
    cent = Money(account.state.currency, 1)
    deposited = codec.encode(MoneyDeposited(cent, "", account.state.balance.plus(cent)))
    gift = NewEvent(b"n" * 16, "openbank.accounts.v9.Gift", b"", at._replace(part=1))
    await store.append("account-1", account.revision, [NewEvent(b"k" * 16, *deposited, at), gift])
    async with running(store, views) as projector:
        await until(lambda: projector.needs_newer_version)
        assert views.place.position == before


async def test_an_event_quarantined_for_its_type_stays_so_until_the_type_is_known(
    store: MemoryStore, history: History, views: FailingViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposits_alone(history)
    await history.withdraw("1")
    unknown = (await history.events())[-1]
    await history.deposit("2")
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.set_aside(unknown.place, UNKNOWN_TYPE)
    monkeypatch.setattr(codec, "ROWS", {name: row for name, row in codec.ROWS.items() if name != WITHDRAWN})
    for _ in range(2):
        async with running(store, views, quarantine=quarantine):
            await caught_up(store, views)
            await until(lambda: not quarantine.aside["account-1"].retrying)
    assert quarantine.aside["account-1"].revision == unknown.revision
    monkeypatch.undo()
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.load()
    async with running(store, views, quarantine=quarantine):
        await until(lambda: not quarantine.aside)
    await assert_holds(views, history)


async def test_a_quarantined_event_stays_out_of_rebuilt_views(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
    async with running(store, views):
        await caught_up(store, views)
    await views.clear(LOG)
    quarantine = Quarantine(store, lambda: 1)
    await quarantine.load()
    async with running(store, views, quarantine=quarantine):
        await caught_up(store, views)
    assert quarantine.aside["account-1"].time == START
    await assert_holds(views, history)


async def test_a_skipped_event_does_not_count_and_the_rest_is_projected(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
    quarantine = Quarantine(store, lambda: 0)
    async with running(store, views, quarantine=quarantine):
        await caught_up(store, views)
        # As another instance may write that has not yet seen the event.
        await history.deposit_at("1", revision_before=len(await store.read_stream("account-1")))
        await caught_up(store, views)
        poison = quarantine.aside["account-1"].revision
        await quarantine.skip("account-1", poison)
        await until(lambda: not quarantine.aside)
    assert quarantine.is_skipped("account-1", poison)
    await assert_holds(views, history)


async def test_a_retry_of_what_still_does_not_follow_sets_it_aside_again(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
    quarantine = Quarantine(store, lambda: 0)
    async with running(store, views, quarantine=quarantine):
        await caught_up(store, views)
        await quarantine.retry("account-1")
        assert quarantine.aside["account-1"].retrying
        await until(lambda: not quarantine.aside["account-1"].retrying)
    await assert_holds(views, history)


async def test_views_that_are_built_again_pass_what_an_operator_has_skipped(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await poison(history, "1")
    quarantine = Quarantine(store, lambda: 0)
    async with running(store, views, quarantine=quarantine):
        await until(lambda: bool(quarantine.aside))
        await quarantine.skip("account-1", None)
        await until(lambda: not quarantine.aside)
    await views.clear(LOG)
    log = RecordingLog(LogTail(store, quarantine=quarantine))
    async with running(store, views, log=log, quarantine=quarantine):
        await caught_up(store, views)
    assert not quarantine.aside
    await assert_holds(views, history)


async def test_nothing_is_released_before_the_views_have_come_to_it(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    await history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.set_aside((await history.events())[-1].place, "it does not follow")
    await quarantine.retry("account-1")
    async with running(store, views, quarantine=quarantine):
        await caught_up(store, views)
        await until(lambda: not quarantine.aside["account-1"].retrying)
    assert quarantine.releases == 0


@pytest.mark.parametrize("away", [False, True], ids=["at work", "away"])
async def test_events_released_by_one_instance_reach_the_views_of_another(
    store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Each has views of its own. One that was away is also one whose views have lost their last commits."""
    monkeypatch.setattr(quarantining, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(projecting, "POLL_SECONDS", 0.001)
    await some_life(history)
    await poison(history, "1")
    places = tmp_path / "ours", tmp_path / "theirs"
    for place in places:
        place.mkdir()
    ours, theirs = map(FailingViews, places)
    await ours.clear(LOG)
    await theirs.clear(LOG)
    quarantine, other = Quarantine(store, lambda: 0), Quarantine(store, lambda: 0)
    async with AsyncExitStack() as stack:
        async with running(store, theirs, quarantine=other):
            await caught_up(store, theirs)
        if not away:
            await stack.enter_async_context(running(store, theirs, quarantine=other))
        async with running(store, ours, quarantine=quarantine):
            await until(lambda: bool(quarantine.aside))
            await quarantine.skip("account-1", None)
            await until(lambda: not quarantine.aside)
        await other.load()
        if away:
            await stack.enter_async_context(running(store, theirs, quarantine=other))
        skipped = min(quarantine.skipped("account-1"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await theirs.account_events("1", EVERYTHING, 1))[0].revision < skipped:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await assert_holds(theirs, history)
    await ours.close()
    await theirs.close()


async def test_events_released_during_a_read_are_projected_before_its_batch(
    store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running totals need an account's events in their order."""
    monkeypatch.setattr(projecting, "POLL_SECONDS", 0.001)
    await some_life(history)
    await poison(history, "1")
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, theirs = FailingViews(tmp_path / "ours"), FailingViews(tmp_path / "theirs")
    await ours.clear(LOG)
    await theirs.clear(LOG)
    quarantine, other = Quarantine(store, lambda: 0), Quarantine(store, lambda: 0)
    async with running(store, theirs, quarantine=other):
        await caught_up(store, theirs)
    async with running(store, ours, quarantine=quarantine):
        await until(lambda: bool(quarantine.aside))
        await quarantine.skip("account-1", None)
        await until(lambda: not quarantine.aside)
    await history.deposit("1")

    class TellingLog(RecordingLog):
        async def read(self, after: LogPosition, limit: int = 1_000) -> LogSlice:
            read = await super().read(after, limit)
            if read.events:
                await other.load()
            return read

    async with running(store, theirs, log=TellingLog(LogTail(store)), quarantine=other):
        await caught_up(store, theirs)
    await assert_holds(theirs, history)
    await ours.close()
    await theirs.close()


class TestViewsThatAreRebuiltBeside:
    """Their projector passes the log by itself, and only the projector of the serving views releases a stream."""

    async def test_an_account_released_while_another_is_projected_again_keeps_its_order(
        self, store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await some_life(history)
        await poison(history, "1")
        await poison(history, "2")
        async with beside(store, tmp_path, monkeypatch) as (views, new, live, rebuild, quarantine, *_):
            await catch_up(live, rebuild)

            async def second_is_released() -> None:
                await quarantine.skip("account-2", None)
                await catch_up(live)
                await history.deposit("2")

            await quarantine.skip("account-1", None)
            await catch_up(live)
            new.before_write = second_is_released
            await catch_up(rebuild, live)
            assert not quarantine.aside
            await assert_holds(views, history)
            await assert_holds(new, history)

    async def test_an_account_released_in_two_steps_is_projected_to_its_end(
        self, store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await some_life(history)
        await poison(history, "1")
        await poison(history, "1")
        async with beside(store, tmp_path, monkeypatch) as (_, new, live, rebuild, quarantine, *_):
            await catch_up(live, rebuild)

            async def the_rest_is_released() -> None:
                await quarantine.skip("account-1", None)
                await catch_up(live)

            await quarantine.skip("account-1", None)
            await catch_up(live)
            assert quarantine.aside, "the second event that does not follow"
            new.before_write = the_rest_is_released
            await catch_up(rebuild)
            assert not quarantine.aside
            await assert_holds(new, history)

    async def test_which_have_passed_an_account_before_its_release_lack_nothing_when_they_serve(
        self, store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await some_life(history)
        await poison(history, "1")
        async with beside(store, tmp_path, monkeypatch) as (views, _, live, rebuild, quarantine, rebuilds, _):
            await catch_up(live, rebuild)
            await history.deposit("1")
            await rebuild.advance()
            await quarantine.skip("account-1", None)
            await catch_up(live)
            assert not quarantine.aside
            assert await rebuilds.switch(0, rebuild.advance)
            await catch_up(live)
            await assert_holds(views, history)

    @pytest.mark.parametrize("slow", ["log", "views"])
    async def test_an_event_on_its_way_to_the_views_that_they_replace_comes_after_those_before_it(
        self, store: MemoryStore, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
    ) -> None:
        """The account was released after their projector had looked, so they lack its events from before."""
        await some_life(history)
        await poison(history, "1")
        async with beside(store, tmp_path, monkeypatch) as (views, new, live, rebuild, quarantine, rebuilds, log):
            await catch_up(live, rebuild)
            await quarantine.skip("account-1", None)
            await history.deposit("2")
            await catch_up(live)
            assert not quarantine.aside
            has_read, replaced = asyncio.Event(), asyncio.Event()

            async def note_read() -> None:
                has_read.set()
                if slow == "log":
                    await replaced.wait()

            async def let_live_read_the_next_event() -> None:
                await project_events(new, (await history.events())[-1:])
                log.after_read = note_read
                await history.deposit("1")
                await has_read.wait()
                await asyncio.sleep(0.01)

            running = asyncio.create_task(live.run())
            await asyncio.sleep(0.01)
            assert await rebuilds.switch(0, let_live_read_the_next_event)
            replaced.set()
            await caught_up(store, views)
            await assert_holds(views, history)
            running.cancel()
            await asyncio.wait([running])


async def test_the_quarantine_reveals_nothing_of_the_events_content(
    store: MemoryStore, history: History, views: FailingViews, caplog: pytest.LogCaptureFixture
) -> None:
    await history.note("person-ann", "openbank.persons.v1.PersonRegistered", b"Ann Secret")
    async with running(store, views):
        await caught_up(store, views)
    assert "Secret" not in caplog.text + (await store.quarantine()).data.decode()


async def test_views_that_are_away_are_waited_for(
    store: MemoryStore, history: History, views: FailingViews, caplog: pytest.LogCaptureFixture
) -> None:
    await some_life(history)
    views.failures = [ViewsUnavailable("away")] * 3
    with caplog.at_level(logging.INFO):
        async with running(store, views) as projector:
            await until(lambda: not projector.available)
            await caught_up(store, views)
            await until(lambda: projector.available)
    lines = [record.message for record in caplog.records if record.name == projecting.__name__]
    assert lines == ["projector waits", "projector continues"]
    await assert_holds(views, history)


async def test_a_write_made_although_it_failed_is_repeated_without_harm(
    store: MemoryStore, history: History, views: FailingViews
) -> None:
    await some_life(history)
    views.failures_after = [ViewsUnavailable("the answer was lost")] * 2
    async with running(store, views, batch_events_max=3):
        await caught_up(store, views)
    await assert_holds(views, history)


async def test_views_too_slow_for_a_whole_batch_come_on_in_smaller_ones(
    store: MemoryStore, history: History, views: FailingViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "RETRY_SECONDS_MIN", 0.01)
    await some_life(history)
    views.changes_max = 3
    async with running(store, views):
        await caught_up(store, views)
    await assert_holds(views, history)


async def test_a_log_that_is_away_is_waited_for(store: MemoryStore, history: History, views: FailingViews) -> None:
    await some_life(history)
    store.go_away()
    async with running(store, views) as projector:
        await until(lambda: not projector.available)
        assert views.place == BEGINNING
        store.come_back()
        await caught_up(store, views)
        await history.deposit("1")
        await caught_up(store, views)
        await assert_holds(views, history)
        assert projector.available


async def test_before_too_much_that_is_not_believed_it_projects_what_can_be_released(
    store: MemoryStore, history: History, views: FailingViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantining, "AGGREGATES_MAX", 1)
    monkeypatch.setattr(projecting, "READ_EVENTS_MAX", 1)
    await some_life(history)
    await history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
    await history.note("account-2", "openbank.accounts.v1.MoneyDeposited", b"")
    for waiting in ({"account-1"}, {"account-2"}):
        quarantine = Quarantine(store, lambda: 0)
        await quarantine.load()
        async with running(store, views, quarantine=quarantine) as projector:
            await until(lambda: projector.failure is not None or set(quarantine.aside) == {"account-2"})  # noqa: B023
            assert set(quarantine.aside) == waiting
            if projector.failure:
                await quarantine.skip("account-1", None)
    assert projector.failure is None
    await assert_holds(views, history)


@pytest.mark.parametrize("damage", [ViewsDamaged("views.db is damaged"), StoreDamaged("a checksum differs")])
async def test_damage_stops_it(store: MemoryStore, history: History, views: FailingViews, damage: Exception) -> None:
    await some_life(history)
    views.failures = [damage]
    async with running(store, views) as projector:
        await until(lambda: projector.failure is not None)
    assert projector.failure == str(damage)


class TestMatchLog:
    async def test_new_views_become_those_of_the_log_without_a_word(
        self, store: MemoryStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        views = SqliteViews(tmp_path)
        await match_log(views, store)
        assert views.log == LOG
        assert caplog.records == []
        await views.close()

    async def test_views_of_the_log_stay(self, store: MemoryStore, history: History, views: FailingViews) -> None:
        await some_life(history)
        async with running(store, views):
            await caught_up(store, views)
        await history.deposit("1")
        place = views.place
        await match_log(views, store)
        assert views.place == place

    async def test_views_that_passed_the_last_of_the_banks_events_stay(
        self, store: MemoryStore, history: History, views: FailingViews
    ) -> None:
        await some_life(history)
        store.pass_others()
        async with running(store, views):
            await caught_up(store, views)
        await match_log(views, store)
        assert views.place == await store.head()

    async def test_views_of_another_log_of_the_bank_are_rebuilt(
        self, store: MemoryStore, history: History, views: FailingViews, caplog: pytest.LogCaptureFixture
    ) -> None:
        await some_life(history)
        async with running(store, views):
            await caught_up(store, views)
        store.store_id = "ff" * 16
        await match_log(views, store)
        assert_rebuilt(views, caplog, "they are of another log")
        async with running(store, views):
            await caught_up(store, views)
        await assert_holds(views, history)

    async def test_views_of_another_bank_are_refused_and_left_alone(
        self, store: MemoryStore, history: History, views: FailingViews
    ) -> None:
        await some_life(history)
        async with running(store, views):
            await caught_up(store, views)
        store.bank_id = "ff" * 16
        with pytest.raises(StoreRefused, match="belong to the bank"):
            await match_log(views, store)
        await assert_holds(views, history)

    async def test_a_log_that_ends_before_its_views_has_lost_events(self, views: FailingViews) -> None:
        before, shortened = History(MemoryStore()), History(MemoryStore())
        for history in (before, shortened):
            await history.register("ann")
        await before.open("1", "ann")
        async with running(before.store, views):
            await caught_up(before.store, views)
        with pytest.raises(StoreRefused, match="it has lost events"):
            await match_log(views, shortened.store)
        await assert_holds(views, before)

    async def test_a_log_that_grew_again_without_the_last_event_of_its_views_has_lost_events(
        self, views: FailingViews
    ) -> None:
        before, shortened = History(MemoryStore()), History(MemoryStore())
        for history in (before, shortened):
            await history.register("ann")
        await before.open("1", "ann")
        await shortened.move("ann")
        await shortened.move("ann")
        async with running(before.store, views):
            await caught_up(before.store, views)
        with pytest.raises(StoreRefused, match="it has lost events"):
            await match_log(views, shortened.store)

    async def test_a_log_with_another_event_in_place_of_the_last_has_lost_events(self, views: FailingViews) -> None:
        before, shortened = History(MemoryStore()), History(MemoryStore())
        for history in (before, shortened):
            await history.register("ann")
        await before.claim("one")
        await before.open("1", "ann")
        # Event ids count the events that were written.
        await shortened.open("1", "ann")
        await shortened.deposit("1")
        views_at = before.store
        async with running(views_at, views):
            await caught_up(views_at, views)
        with pytest.raises(StoreRefused, match="others have taken their place"):
            await match_log(views, shortened.store)

    async def test_after_their_file_is_deleted_the_log_builds_them_again(self, tmp_path: Path) -> None:
        store = SqliteEventStore(tmp_path)
        history = History(store)
        await some_life(history)
        for _ in range(2):
            views = SqliteViews(tmp_path)
            await match_log(views, store)
            async with running(store, views):
                await caught_up(store, views)
            await assert_holds(views, history)
            await views.close()
            (tmp_path / FILE).unlink()
        await store.close()


class FailingViews(SqliteViews):
    """Fails as configured, and counts."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.failures: list[Exception] = []
        self.failures_after: list[Exception] = []
        """Raised when the changes are made already."""
        self.projected = 0
        self.before_write: Callable[[], Awaitable[None]] | None = None
        """Awaited once."""
        self.changes_max = 1_000_000
        """The most changes of one batch; more do not get through."""

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        if len(changes) > self.changes_max:
            raise ViewsUnavailable("no answer in time")
        if self.failures:
            raise self.failures.pop()
        before, self.before_write = self.before_write, None
        if before:
            await before()
        place = self.place
        await super().project(changes, through, after)
        self.projected += 1
        if self.failures_after:
            self.place = place
            raise self.failures_after.pop()


class RecordingLog:
    """Remembers what was read."""

    def __init__(self, tail: LogTail) -> None:
        self.tail = tail
        self._reader = tail.reader()
        self.read_after: list[LogPosition] = []
        self.after_read: Callable[[], Awaitable[object]] | None = None
        """Awaited once, after events were read."""

    async def read(self, after: LogPosition, limit: int) -> LogSlice:
        self.read_after.append(after)
        read = await self._reader.read(after, limit)
        if read.events and self.after_read:
            wait, self.after_read = self.after_read, None
            await wait()
        return read

    async def wait(self, after: int) -> None:
        await self.tail.wait(after)


@asynccontextmanager
async def running(
    store: EventStore,
    views: Views,
    batch_events_max: int = 1000,
    log: RecordingLog | None = None,
    quarantine: Quarantine | None = None,
) -> AsyncIterator[Projector]:
    log = log or RecordingLog(LogTail(store))
    projector = new_projector(store, log, views, batch_events_max, quarantine)
    tasks = [asyncio.create_task(log.tail.run()), asyncio.create_task(projector.run())]
    try:
        yield projector
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Beside(NamedTuple):
    views: FailingViews
    new: FailingViews
    live: Projector
    rebuild: Projector
    quarantine: Quarantine
    rebuilds: SqliteRebuilds
    log: RecordingLog
    """That of `live`."""


@asynccontextmanager
async def beside(store: MemoryStore, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Beside]:
    """Views, and new ones that are filled beside them, in one process. Both begin empty; nothing runs yet."""
    monkeypatch.setattr(projecting, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(rebuilding, "SqliteViews", FailingViews)
    views = FailingViews(directory)
    await views.clear(LOG)
    rebuilds = SqliteRebuilds(directory, views)
    await rebuilds.start(0)
    new = await rebuilds.next_views()
    assert isinstance(new, FailingViews)
    quarantine = Quarantine(store, lambda: 0)
    log = RecordingLog(LogTail(store))
    live = new_projector(store, log, views, quarantine=quarantine)
    checker = Checker(store, quarantine, thorough=True)
    rebuild = Projector(RecordingLog(LogTail(store)), new, checker, quarantine, decides=False)
    yield Beside(views, new, live, rebuild, quarantine, rebuilds, log)
    await rebuilds.close()
    await views.close()


async def catch_up(*projectors: Projector) -> None:
    """More often than what was released since can need."""
    for projector in projectors:
        for _ in range(6):
            await projector.advance()


async def poison(history: History, account_id: str) -> None:
    """An event that does not follow, and a deposit after it."""
    await history.note(f"account-{account_id}", "openbank.accounts.v1.MoneyDeposited", b"")
    await deposit_behind_others(history, account_id)


async def deposit_behind_others(history: History, account_id: str) -> None:
    """A deposit after events that are not the bank's."""
    revision = len(await history.store.read_stream(f"account-{account_id}"))
    await history.deposit_at(account_id, revision_before=revision)


async def caught_up(store: EventStore, views: Views) -> None:
    await asyncio.wait_for(views.wait_for((await store.head()).position), PATIENCE_SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_SECONDS / 0.001)):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


async def some_life(history: History) -> None:
    await history.register("ann")
    await history.register("bob")
    for account_id, owner_id in (("1", "ann"), ("2", "bob"), ("3", "ann")):
        await history.open(account_id, owner_id)
    for amount in range(1, 6):
        await history.deposit("1", amount)
        await history.deposit("2", 10 * amount)
    await history.withdraw("2", 30)
    await history.move("ann")


def assert_rebuilt(views: Views, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    assert views.place == BEGINNING
    [record] = [record for record in caplog.records if record.name == matching.__name__]
    assert record.message == "views are rebuilt"
    assert record.__dict__["values"]["reason"] == reason


class WakingLog(RecordingLog):
    """Is woken, and so many turns of the event loop later its reader is cancelled."""

    def __init__(self, tail: LogTail, turns: int) -> None:
        super().__init__(tail)
        self.turns = turns
        self.reader: asyncio.Task[None] | None = None

    async def wait(self, after: int) -> None:
        woken = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._wake, woken, self.turns)
        await woken

    def _wake(self, woken: asyncio.Future[None], turns: int) -> None:
        if not woken.done():
            woken.set_result(None)
        if turns:
            asyncio.get_running_loop().call_soon(self._wake, woken, turns - 1)
        elif self.reader:
            self.reader.cancel()


@pytest.mark.parametrize("turns", range(5))
async def test_it_ends_when_it_is_cancelled_just_as_the_log_wakes_it(turns: int, tmp_path: Path) -> None:
    """A bank that stops right after an event must not wait for its projector for good."""
    store, views = MemoryStore(), SqliteViews(tmp_path)
    await match_log(views, store)
    log = WakingLog(LogTail(store), turns)
    log.reader = asyncio.create_task(new_projector(store, log, views, 1000, None).run())
    done, _ = await asyncio.wait([log.reader], timeout=PATIENCE_SECONDS)
    log.reader.cancel()
    await views.close()
    assert done

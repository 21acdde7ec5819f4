"""What a rebuild guarantees, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from openbank.domain.money import Money
from openbank.domain.transfers import TransferState
from openbank.eventstore.port import BEGINNING
from openbank.following.tail import LogTail
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from openbank.views.port import Filled, LogId, MovementFilter, Views, ViewsLacking
from openbank.views.projector import Projector
from openbank.views.rebuild import Rebuilds
from openbank.views.rebuilder import Rebuilder
from tests.callers import until
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, USD, History, assert_holds, changes_of, project_log

OpenRebuilds = Callable[[], Awaitable[tuple[Views, Rebuilds]]]
"""As one more process opens them: the same views each time."""

START, END = 1_700_000_000_000_000, 1_700_000_060_000_000
WAIT_SECONDS = 20.0


class RebuildConformance:
    @pytest.fixture
    def open_rebuilds(self) -> OpenRebuilds:
        raise NotImplementedError

    @pytest.fixture
    def make_earlier(self) -> Callable[[], None]:
        """Makes views that are closed those of an earlier version."""
        raise NotImplementedError

    @pytest.fixture
    async def history(self) -> History:
        history = History(MemoryStore())
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, 1000))
        for _ in range(20):
            await history.deposit("1")
        return history

    @pytest.fixture
    async def opened(self, open_rebuilds: OpenRebuilds, history: History) -> AsyncIterator[tuple[Views, Rebuilds]]:
        """Views that hold the history."""
        views, rebuilds = await open_rebuilds()
        await views.clear(LOG)
        await project_log(views, history)
        yield views, rebuilds
        await rebuilds.close()
        await views.close()

    async def test_no_rebuild_is_remembered_where_there_was_none(self, opened: tuple[Views, Rebuilds]) -> None:
        _, rebuilds = opened
        assert rebuilds.record is None
        assert await rebuilds.next_views() is None
        assert not await rebuilds.switch(END, no_more)
        await rebuilds.give_up(END, "nobody asked")
        assert rebuilds.record is None

    async def test_new_views_replace_the_old_ones_once_they_have_caught_up(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        generation, end = views.generation, views.place
        await rebuilds.start(START)
        filled = await rebuilds.next_views()
        assert filled is not None
        assert filled.place == BEGINNING
        events = await history.events()
        await fill(filled, history, 0, 5)
        assert rebuilds.record is not None
        assert (rebuilds.record.running, rebuilds.record.place) == (True, events[4].place)
        assert not await rebuilds.switch(END, no_more)
        await assert_holds(views, history)
        await fill(filled, history, 5, len(events))
        assert await rebuilds.switch(END, no_more)
        assert views.generation != generation
        assert views.place == end
        await assert_holds(views, history)
        assert rebuilds.record._replace(place=BEGINNING) == (START, BEGINNING, END, "")
        assert await rebuilds.next_views() is None

    async def test_a_rebuild_corrects_faults_of_the_old_views(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        others = History(MemoryStore())
        for person_id in (*map(str, range(50)), "eve"):
            await others.register(person_id)
        await views.project(changes_of((await others.events())[-1:]), views.place)
        assert await views.person("eve") is not None
        await rebuild(rebuilds, history)
        assert await views.person("eve") is None
        await assert_holds(views, history)

    async def test_the_new_views_are_kept_up_and_rebuilt_again(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        for _ in range(2):
            await rebuild(rebuilds, history)
            at = views.place
            await history.deposit("1")
            await views.project(changes_of((await history.events())[-1:]), (await history.events())[-1].place, at)
            await assert_holds(views, history)

    async def test_a_second_start_changes_nothing(self, opened: tuple[Views, Rebuilds], history: History) -> None:
        _, rebuilds = opened
        await asyncio.gather(rebuilds.start(START), rebuilds.start(START))
        filled = await rebuilds.next_views()
        assert filled is not None
        await fill(filled, history, 0, 5)
        before = rebuilds.record
        await rebuilds.start(END)
        assert rebuilds.record == before

    async def test_it_does_not_switch_to_views_that_the_old_ones_have_overtaken(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        await rebuilds.start(START)
        filled = await rebuilds.next_views()
        assert filled is not None
        events = await history.events()
        await fill(filled, history, 0, len(events))
        await history.deposit("1")
        await project_log(views, history)
        assert not await rebuilds.switch(END, no_more)
        await fill(filled, history, len(events), len(events) + 1)
        assert await rebuilds.switch(END, no_more)
        await assert_holds(views, history)

    async def test_a_rebuild_that_is_given_up_leaves_the_old_views(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        await rebuilds.start(START)
        filled = await rebuilds.next_views()
        assert filled is not None
        await fill(filled, history, 0, 5)
        await rebuilds.give_up(END, "the log is damaged")
        assert rebuilds.record == (START, BEGINNING, END, "the log is damaged")
        assert not await rebuilds.switch(END, no_more)
        await assert_holds(views, history)
        await rebuild(rebuilds, history)
        assert rebuilds.record == (START, BEGINNING, END, "")

    async def test_a_restart_continues_where_it_stopped(
        self, opened: tuple[Views, Rebuilds], open_rebuilds: OpenRebuilds, history: History
    ) -> None:
        views, rebuilds = opened
        await rebuilds.start(START)
        filled = await rebuilds.next_views()
        assert filled is not None
        await fill(filled, history, 0, 5)
        await rebuilds.close()
        await views.close()
        again, continued = await open_rebuilds()
        try:
            assert continued.record == (START, (await history.events())[4].place, None, "")
            filled = await continued.next_views()
            assert filled is not None
            await fill(filled, history, 5, len(await history.events()))
            assert await continued.switch(END, no_more)
            await assert_holds(again, history)
        finally:
            await continued.close()
            await again.close()

    async def test_a_restart_remembers_how_the_last_one_ended(
        self, opened: tuple[Views, Rebuilds], open_rebuilds: OpenRebuilds, history: History
    ) -> None:
        views, rebuilds = opened
        for failure in ("", "the log is damaged"):
            await rebuilds.start(START)
            if failure:
                await rebuilds.next_views()
                await rebuilds.give_up(END, failure)
            else:
                await rebuild(rebuilds, history)
            await rebuilds.close()
            await views.close()
            views, rebuilds = await open_rebuilds()
            assert rebuilds.record == (START, BEGINNING, END, failure)
            await assert_holds(views, history)
        await rebuilds.close()
        await views.close()

    async def test_views_of_another_log_are_not_continued_with(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        await rebuilds.start(START)
        filled = await rebuilds.next_views()
        assert filled is not None
        await fill(filled, history, 0, 5)
        await views.clear(LogId(LOG.bank_id, "51" * 16))
        filled = await rebuilds.next_views()
        assert filled is None or filled.place == BEGINNING

    async def test_a_projector_fills_them_while_another_one_keeps_the_old_ones_up(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        tail = LogTail(history.store)
        quarantine = Quarantine(history.store, lambda: START)
        rebuilder = new_rebuilder(views, rebuilds, history, tail, quarantine)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(work)
                for work in (
                    tail.run(),
                    live(views, history, tail, quarantine).run(),
                    rebuilder.run(),
                    rebuilder.watch(),
                )
            ]
            await rebuilder.start()
            async with asyncio.timeout(WAIT_SECONDS):
                while (filling := rebuilder.filling()) is None or filling.record.running:
                    await history.deposit("1")
                    await views.wait_for(history.accounts["1"].resource.revision + 1)
                    assert await views.account("1") == history.accounts["1"].resource
            assert filling.record.failure == ""
            await history.deposit("1")
            await views.wait_for(history.accounts["1"].resource.revision + 1)
            assert await views.account("1") == history.accounts["1"].resource
            for task in running:
                task.cancel()

    async def test_views_of_an_earlier_format_serve_what_they_have_while_a_rebuild_adds_the_rest(
        self,
        opened: tuple[Views, Rebuilds],
        open_rebuilds: OpenRebuilds,
        make_earlier: Callable[[], None],
        history: History,
    ) -> None:
        views, rebuilds = opened
        end = views.place
        await rebuilds.close()
        await views.close()
        make_earlier()
        for _ in range(2):
            views, rebuilds = await open_rebuilds()
            assert not views.complete
            await serves_all_but_movements(views, history)
            await history.deposit("1")
            last = (await history.events())[-1:]
            await views.project(changes_of(last), last[0].place, views.place)
            await serves_all_but_movements(views, history)
            await rebuilds.close()
            await views.close()
        views, rebuilds = await open_rebuilds()
        assert views.place.position == end.position + 2
        await rebuild(rebuilds, history)
        assert views.complete
        await assert_holds(views, history)
        await rebuilds.close()
        await views.close()
        views, rebuilds = await open_rebuilds()
        assert views.complete
        await assert_holds(views, history)
        await rebuilds.close()
        await views.close()

    async def test_a_start_adds_what_views_of_an_earlier_format_lack_where_no_other_instance_reads_them(
        self,
        opened: tuple[Views, Rebuilds],
        open_rebuilds: OpenRebuilds,
        make_earlier: Callable[[], None],
        history: History,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        views, rebuilds = opened
        await rebuilds.close()
        await views.close()
        make_earlier()
        views, rebuilds = await open_rebuilds()
        tail = LogTail(history.store)
        rebuilder = new_rebuilder(views, rebuilds, history, tail, Quarantine(history.store, lambda: START))
        running = [asyncio.create_task(work) for work in (tail.run(), rebuilder.run())]
        try:
            if views.shared:
                warning = "views are of an earlier format"
                await until(lambda: warning in [record.message for record in caplog.records])
                assert rebuilds.record is None
                await rebuilder.start()
            await until(lambda: views.complete, WAIT_SECONDS)
            await assert_holds(views, history)
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            await rebuilds.close()
            await views.close()

    async def test_new_views_leave_out_quarantined_events_and_have_those_released_meanwhile(
        self, opened: tuple[Views, Rebuilds], history: History
    ) -> None:
        views, rebuilds = opened
        await history.open("2", "ann")
        for account_id in ("1", "2"):
            await history.note(f"account-{account_id}", "openbank.accounts.v1.MoneyDeposited", b"not a deposit")
        tail = LogTail(history.store)
        quarantine = Quarantine(history.store, lambda: START)
        rebuilder = new_rebuilder(views, rebuilds, history, tail, quarantine)
        works = (tail.run(), live(views, history, tail, quarantine).run(), rebuilder.run())
        running = [asyncio.create_task(work) for work in works]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await until(lambda: len(quarantine.aside) == 2)
                asides = dict(quarantine.aside)
                await rebuilder.start()
                await quarantine.skip("account-2", None)
                await until(lambda: not (rebuilds.record and rebuilds.record.running))
                await until(lambda: len(quarantine.aside) == 1)
            assert quarantine.of("account-1") == asides["account-1"]
            # Revision 2 is skipped; the views continue after it.
            await history.deposit_at("2", 2)
            async with asyncio.timeout(WAIT_SECONDS):
                await views.wait_for((await history.events())[-1].position)
            assert await views.account("1") == history.accounts["1"].resource
            assert await views.account("2") == history.accounts["2"].resource
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)


async def serves_all_but_movements(views: Views, history: History) -> None:
    assert [listed.resource for listed in await views.persons(0, 10)] == [history.persons["ann"].resource]
    assert await views.account("1") == history.accounts["1"].resource
    assert await views.accounts_by_owner("ann", 0, 10) == [history.accounts["1"]]
    assert await views.account_events("1", 1_000, 1_000) == list(reversed(await history.events_of("1")))
    assert await views.transfers("1", [TransferState.COMPLETED], 1_000, 10) == []
    for call in (
        views.standing("1", 1),
        views.standing_at("1", START, 1),
        views.entries("1", 0, 1_000, 10),
        views.movements(MovementFilter("1"), 1_000, 10),
        views.reversal("1", 2),
    ):
        with pytest.raises(ViewsLacking):
            await call


async def no_more() -> None: ...


async def at_once() -> None:
    await asyncio.sleep(0)


async def fill(views: Filled, history: History, start: int, end: int) -> None:
    events = await history.events()
    after = events[start - 1].place if start else BEGINNING
    await views.project(changes_of(events[start:end]), events[end - 1].place, after)


async def rebuild(rebuilds: Rebuilds, history: History) -> None:
    await rebuilds.start(START)
    filled = await rebuilds.next_views()
    assert filled is not None
    await fill(filled, history, 0, len(await history.events()))
    assert await rebuilds.switch(END, no_more)


def live(views: Filled, history: History, tail: LogTail, quarantine: Quarantine) -> Projector:
    checker = Checker(history.store, quarantine, thorough=True)
    return Projector(tail.reader(checked=False), views, checker, quarantine)


def new_rebuilder(
    views: Views, rebuilds: Rebuilds, history: History, tail: LogTail, quarantine: Quarantine
) -> Rebuilder:
    return Rebuilder(
        rebuilds,
        views,
        history.store,
        tail.reader(checked=False),
        quarantine,
        lambda work: work,
        at_once,
        lambda: END,
    )

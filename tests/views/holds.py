"""What the views say of holds, checked for every adapter: a part of `ViewsConformance`."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.domain import holds
from openbank.domain.account_events import TransferSent
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.holds import CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.money import Money
from openbank.domain.tags import Label, Tags
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING
from openbank.views.port import BEFORE_DUE, DueHold, Views
from tests.eventstore.memory import MemoryStore
from tests.views.histories import EVERYTHING, LOG, USD, History, changes_of, project_events, project_log

OPEN, CAPTURED, RELEASED, EXPIRED = HoldState
TAGS = Tags("booking 7", (Label("room", "12"),))


def usd(minor: int) -> Money:
    return Money(USD, minor)


async def opened(history: History, *account_ids: str) -> None:
    await history.register("ann")
    for account_id in account_ids:
        await history.open(account_id, "ann", deposit=usd(1_000))


async def place(history: History, account_id: str, minor: int, expire_time: int = 50) -> str:
    account = history.accounts[account_id].resource.state
    command = PlaceHold(account_id, usd(minor), "Hotel", expire_time, tags=TAGS)
    await history.happen(account_id, holds.place(account, command, 0))
    return holds.new_id(account_id, account.controls.holds_placed)


async def capture(history: History, account_id: str, hold_id: str, minor: int, *, release: bool = False) -> None:
    command = CaptureHold(account_id, hold_id, usd(minor), release, "")
    await history.happen(account_id, holds.capture(history.accounts[account_id].resource.state, command))


async def release(history: History, account_id: str, hold_id: str) -> None:
    command = ReleaseHold(account_id, hold_id, "")
    await history.happen(account_id, holds.release(history.accounts[account_id].resource.state, command))


async def send(history: History, account_id: str, hold_id: str, minor: int) -> None:
    account = history.accounts[account_id].resource.state
    amount, remaining = holds.taken(account, hold_id, usd(minor))
    balance = account.balance.minus(amount)
    await history.happen(account_id, TransferSent("t", "2", amount, "", balance, account.available, hold_id, remaining))


async def expire(history: History, account_id: str, now: int) -> None:
    for event in tuple(holds.due(history.accounts[account_id].resource.state, now)):
        await history.happen(account_id, event)


async def seen(views: Views, hold_id: str) -> tuple[HoldState, int, int, int]:
    """Its state, and in minor units what is captured, remains and was released."""
    hold = await views.hold(hold_id)
    assert hold
    return hold.state.state, hold.state.captured.minor, hold.state.remaining.minor, hold.state.released.minor


async def assert_open_holds_are_those_of_the_fold(views: Views, history: History) -> None:
    for account_id, account in history.accounts.items():
        listed = await views.holds(account_id, [OPEN], EVERYTHING, EVERYTHING)
        found = {one.resource.state.hold_id: one.resource.state for one in listed}
        folded = account.resource.state.controls.holds
        assert {id: (hold.remaining.minor, hold.expire_time) for id, hold in found.items()} == {
            id: (hold.remaining, hold.expire_time) for id, hold in folded.items()
        }


class HoldViews:
    async def test_a_hold_is_as_its_events_leave_it(self, views: Views, history: History) -> None:
        assert await views.hold("h") is None
        await opened(history, "1", "2")
        ids = [await place(history, "1", 60, expire_time=50 + number) for number in range(5)]
        placed = history.accounts["1"].resource
        await project_log(views, history)
        assert await views.hold(ids[4]) == Versioned(
            HoldRecord(ids[4], "1", usd(60), usd(60), usd(0), OPEN, "Hotel", 54, TAGS),
            placed.revision,
            placed.update_time,
            placed.update_time,
        )
        await capture(history, "1", ids[0], 25)
        await capture(history, "1", ids[1], 25, release=True)
        await capture(history, "1", ids[2], 10)
        await release(history, "1", ids[2])
        await send(history, "1", ids[3], 60)
        await send(history, "1", ids[4], 20)
        await expire(history, "1", 54)
        last = history.accounts["1"].resource
        await project_log(views, history)
        ended = [
            (EXPIRED, 25, 0, 35),
            (CAPTURED, 25, 0, 35),
            (RELEASED, 10, 0, 50),
            (CAPTURED, 60, 0, 0),
            (EXPIRED, 20, 0, 40),
        ]
        assert [await seen(views, id) for id in ids] == ended
        for event in reversed(await history.events()):
            await views.project(changes_of([event]), BEGINNING)
        assert [await seen(views, id) for id in ids] == ended
        hold = await views.hold(ids[4])
        assert hold
        assert (hold.revision, hold.create_time, hold.update_time) == (
            last.revision,
            placed.update_time,
            last.update_time,
        )

    async def test_holds_are_listed_by_account_and_state_newest_first(self, views: Views, history: History) -> None:
        await opened(history, "1", "2")
        ids = [await place(history, "1", 10) for _ in range(5)]
        await place(history, "2", 10)
        await release(history, "1", ids[1])
        await capture(history, "1", ids[3], 10)
        await project_log(views, history)

        async def listed(
            *states: HoldState, before: int = EVERYTHING, limit: int = EVERYTHING
        ) -> list[tuple[int, str]]:
            found = await views.holds("1", states, before, limit)
            return [(one.position, one.resource.state.hold_id) for one in found]

        everything = await listed(*HoldState)
        assert [id for _, id in everything] == ids[::-1]
        assert [id for _, id in await listed(OPEN)] == [ids[4], ids[2], ids[0]]
        assert await listed(RELEASED, CAPTURED) == [everything[1], everything[3]]
        assert await listed(*HoldState, before=everything[1][0], limit=2) == everything[2:4]
        assert await listed(EXPIRED) == []

    async def test_holds_that_are_due_come_in_the_order_of_time_and_page_by_page(
        self, views: Views, history: History
    ) -> None:
        await opened(history, "1", "2")
        for account_id, expire_time in (("1", 30), ("2", 20), ("1", 20), ("1", 40), ("2", 20)):
            await place(history, account_id, 10, expire_time)
        gone = await place(history, "2", 10, 25)
        await release(history, "2", gone)
        await project_log(views, history)
        assert await views.due_holds(19, BEFORE_DUE, 10) == []
        due = list(await views.due_holds(30, BEFORE_DUE, 10))
        assert [(one.expire_time, one.account_id) for one in due] == [(20, "2"), (20, "1"), (20, "2"), (30, "1")]
        after, pages = BEFORE_DUE, list[DueHold]()
        while page := await views.due_holds(30, after, 1):
            pages += page
            after = page[-1]
        assert pages == due

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.sampled_from("pcrxe"), st.integers(0, 3), st.integers(1, 60)), max_size=20), st.data())
    async def test_the_open_holds_are_those_of_the_fold_at_every_revision(
        self, views: Views, steps: list[tuple[str, int, int]], data: st.DataObject
    ) -> None:
        await views.clear(LOG)
        history = History(MemoryStore())
        await opened(history, "1")
        await project_log(views, history)
        for step, which, minor in steps:
            ids = sorted(history.accounts["1"].resource.state.controls.holds)
            before = len(await history.events())
            if step == "p":
                await place(history, "1", minor, expire_time=minor)
            elif step == "e":
                await expire(history, "1", minor)
            elif which < len(ids):
                remaining = history.accounts["1"].resource.state.controls.holds[ids[which]].remaining
                taken = min(minor, remaining)
                if step == "r":
                    await release(history, "1", ids[which])
                else:
                    await capture(history, "1", ids[which], taken, release=step == "x")
            events = await history.events()
            if len(events) > before:
                await project_events(views, events[before:])
                again = data.draw(st.lists(st.sampled_from(events), max_size=4), label="delivered again")
                await views.project(changes_of(again), again[0].place if again else BEGINNING)
            await assert_open_holds_are_those_of_the_fold(views, history)

"""What the views guarantee, checked for every adapter.

An adapter's test file subclasses `ViewsConformance` and gives it `open_views`, which opens the same views each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.domain.controls import NO_LIMITS, AccountState, SpendingLimits
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.views.changes import AccountUpdated, MinuteReached, PersonUpdated
from openbank.views.port import MINUTE_MICROSECONDS, NO_MINUTE, LogId, Views, ViewsUnavailable
from tests.eventstore.memory import MemoryStore
from tests.views.histories import (
    EVERYTHING,
    JPY,
    LOG,
    USD,
    History,
    assert_holds,
    changes_of,
    project_events,
    project_log,
)
from tests.views.holds import HoldViews
from tests.views.movements import MovementViews
from tests.views.transfers import TransferViews

OpenViews = Callable[[], Awaitable[Views]]

DOLLAR = Money(USD, 100)
NOTHING = Money(USD, 0)
FREEZE = {"state": AccountState.FROZEN, "freeze_reason": "Fraud"}
LIMITS = SpendingLimits(None, 5, "Europe/Zurich")
UPDATES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"balance": DOLLAR, "available": DOLLAR}, {}),
    ({"balance": DOLLAR, "available": NOTHING}, {"held": DOLLAR.minor}),
    (FREEZE, FREEZE),
    ({"state": AccountState.CLOSED, "close_time": 9}, {"state": AccountState.CLOSED, "close_time": 9}),
    ({"overdraft_limit": DOLLAR, "available": DOLLAR}, {"overdraft_limit": DOLLAR.minor}),
    ({"spending": LIMITS}, {"spending": LIMITS}),
    ({"spending": NO_LIMITS}, {}),
]
"""What an update sets, and what of the controls an account has then that had nothing set."""
PEOPLE = ("ann", "bob")
ACCOUNTS = ("1", "2", "3")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.sampled_from(PEOPLE)),
        st.tuples(st.just("open"), st.sampled_from(ACCOUNTS)),
        st.tuples(st.just("deposit"), st.sampled_from(ACCOUNTS)),
        st.tuples(st.just("withdraw"), st.sampled_from(ACCOUNTS)),
    ),
    max_size=25,
)


class ViewsConformance(TransferViews, HoldViews, MovementViews):
    @pytest.fixture
    def history(self) -> History:
        return History(MemoryStore())

    @pytest.fixture
    def open_views(self) -> OpenViews:
        raise NotImplementedError("an adapter's test file opens its views, the same ones each time")

    @pytest.fixture
    async def views(self, open_views: OpenViews) -> AsyncIterator[Views]:
        views = await open_views()
        await views.clear(LOG)
        yield views
        await views.close()

    async def test_new_views_are_of_no_log(self, open_views: OpenViews) -> None:
        views = await open_views()
        assert views.log is None
        assert views.place == BEGINNING
        assert await views.persons(0, EVERYTHING) == []
        await views.close()

    async def test_cleared_views_are_at_the_beginning_of_their_log(self, views: Views) -> None:
        assert views.log == LOG
        assert views.place == BEGINNING

    async def test_a_question_about_an_unknown_id_answers_none_or_nothing(self, views: Views) -> None:
        assert await views.person("ann") is None
        assert await views.account("1") is None
        assert await views.accounts_by_number("1") == []
        assert await views.accounts_by_owner("ann", 0, 10) == []
        assert await views.account_events("1", EVERYTHING, 10) == []

    async def test_accounts_whose_numbers_differ_by_hyphens_only_are_there_in_the_order_of_opening(
        self, views: Views, history: History
    ) -> None:
        """Earlier versions opened them."""
        await history.register("ann")
        for account_id, number in (("3", "12-34"), ("1", "1234"), ("2", "1-2 34"), ("4", "12345")):
            await history.open(account_id, "ann", number)
        await project_log(views, history)
        await assert_holds(views, history)
        found = await views.accounts_by_number("1234")
        assert [account.state.account_id for account in found] == ["3", "1", "2"]

    async def test_they_hold_what_the_events_say(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, 1000))
        await history.move("ann")
        await history.deposit("1", 500)
        await history.withdraw("1", 1500)
        await project_log(views, history)
        await assert_holds(views, history)
        assert views.place == (await history.events())[-1].place

    async def test_money_is_exact_up_to_its_maximum_and_in_any_currency(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, MAX_MINOR))
        await history.open("2", "ann", deposit=Money(JPY, 7))
        await history.deposit("2", MAX_MINOR - 7)
        await project_log(views, history)
        await assert_holds(views, history)

    async def test_lists_are_in_the_order_of_the_log_and_not_of_ids_or_clocks(
        self, views: Views, history: History
    ) -> None:
        for person_id in ("zoe", "ann", "mia"):
            await history.register(person_id)
        for account_id in ("9", "1", "5"):
            await history.open(account_id, "ann")
        await project_log(views, history)
        persons = await views.persons(0, EVERYTHING)
        assert [row.resource.state.person_id for row in persons] == ["zoe", "ann", "mia"]
        accounts = await views.accounts_by_owner("ann", 0, EVERYTHING)
        assert [row.resource.state.account_id for row in accounts] == ["9", "1", "5"]

    async def test_a_list_continues_after_any_of_its_rows(self, views: Views, history: History) -> None:
        for person_id in ("ann", "bob", "eve"):
            await history.register(person_id)
        for account_id in ("1", "2", "3"):
            await history.open(account_id, "ann")
            await history.open(f"other-{account_id}", "bob")
        await project_log(views, history)
        persons = await views.persons(0, EVERYTHING)
        assert await views.persons(persons[0].position, 1) == [persons[1]]
        assert await views.persons(persons[2].position, 1) == []
        accounts = await views.accounts_by_owner("ann", 0, EVERYTHING)
        assert len(accounts) == 3
        assert await views.accounts_by_owner("ann", accounts[0].position, 1) == [accounts[1]]
        assert await views.accounts_by_owner("ann", accounts[2].position, 1) == []

    async def test_an_accounts_events_are_as_recorded_and_newest_first(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await history.open("2", "ann")
        for _ in range(3):
            await history.deposit("1")
            await history.deposit("2")
        await project_log(views, history)
        recorded = await history.events_of("1")
        assert await views.account_events("1", before=4, limit=2) == [recorded[2], recorded[1]]
        assert await views.account_events("1", before=1, limit=2) == []

    async def test_the_place_before_a_time_is_that_of_the_last_minute_reached(self, views: Views) -> None:
        assert await views.last_minute() == NO_MINUTE
        assert await views.place_before(10 * MINUTE_MICROSECONDS) == BEGINNING
        seventh, ninth = LogPosition(4, "account-1", 2), LogPosition(8, "person-ann", 1)
        for _ in range(2):
            await views.project([MinuteReached(7, seventh), MinuteReached(9, ninth)], LogPosition(10))
        await views.project([MinuteReached(9, LogPosition(9, "account-1", 3))], LogPosition(11))
        assert await views.last_minute() == 9
        for minute, place in ((6.9, BEGINNING), (7, seventh), (8.9, seventh), (9, ninth), (100, ninth)):
            assert await views.place_before(int(minute * MINUTE_MICROSECONDS)) == place
        await views.clear(LOG)
        assert await views.last_minute() == NO_MINUTE
        assert await views.place_before(10 * MINUTE_MICROSECONDS) == BEGINNING

    async def test_the_same_changes_again_change_nothing(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, 1000))
        await history.deposit("1", 500)
        await history.move("ann")
        await project_log(views, history)
        await project_log(views, history)
        await assert_holds(views, history)

    async def test_an_older_event_again_does_not_take_a_newer_one_back(
        self, views: Views, open_views: OpenViews, history: History
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, 1000))
        await history.deposit("1", 500)
        await history.deposit("1", 250)
        await history.move("ann", "2 Side Street")
        await history.move("ann", "3 Back Street")
        await project_log(views, history)
        place = views.place
        for event in reversed(await history.events()):
            await project_events(views, [event])
            await assert_holds(views, history)
        assert views.place == place
        await views.close()
        again = await open_views()
        assert again.place == place
        await again.close()

    async def test_an_older_event_in_one_batch_with_a_newer_one_does_not_take_it_back(
        self, views: Views, history: History
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await history.deposit("1", 500)
        await history.move("ann", "2 Side Street")
        await project_log(views, history)
        before = len(await history.events())
        await history.deposit("1", 250)
        await history.move("ann", "3 Back Street")
        events = await history.events()
        await views.project(changes_of([*events[before:], *events[:before]]), events[-1].place)
        await assert_holds(views, history)

    @given(steps=STEPS, data=st.data())
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    async def test_views_are_the_same_for_any_batches_and_repetitions(
        self, views: Views, steps: list[tuple[str, str]], data: st.DataObject
    ) -> None:
        await views.clear(LOG)
        history = History(MemoryStore(step=data.draw(st.sampled_from([1, 10]))))
        await live(history, steps)
        events = await history.events()
        done = 0
        while done < len(events):
            upto = data.draw(st.integers(done + 1, len(events)), label="the next batch ends at")
            again = data.draw(st.lists(st.sampled_from(events[:upto]), max_size=6), label="delivered again")
            await views.project(changes_of([*events[done:upto], *again]), events[upto - 1].place)
            again = data.draw(st.lists(st.sampled_from(events[:upto]), max_size=6), label="delivered once more")
            await views.project(changes_of(again), again[0].place if again else BEGINNING)
            done = upto
        await assert_holds(views, history)
        assert views.place == events[-1].place

    async def test_changes_of_two_kinds_in_one_batch_are_both_made(self, views: Views, history: History) -> None:
        """The older one too: it is not taken for one that the newer one has overtaken."""
        await history.register("ann")
        await history.open("1", "ann")
        await history.open("2", "ann")
        await project_log(views, history)
        place = views.place
        frozen = AccountUpdated("1", 2, 20, state=AccountState.FROZEN)
        deposited = AccountUpdated("1", 3, 30, DOLLAR, DOLLAR)
        for changes in ([frozen, deposited], [deposited, frozen], [deposited], [frozen]):
            await views.project([*changes, AccountUpdated("2", 2, 21, DOLLAR)], place)
            account = await views.account("1")
            assert account
            assert (account.state.state, account.state.balance) == (AccountState.FROZEN, DOLLAR)
            assert (account.revision, account.update_time) == (3, 30)

    async def test_an_older_change_again_takes_no_value_back_beside_a_newer_change(
        self, views: Views, history: History
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await project_log(views, history)
        frozen, active = (
            AccountUpdated("1", revision, revision, state=state)
            for revision, state in ((2, AccountState.FROZEN), (3, AccountState.ACTIVE))
        )
        deposited = AccountUpdated("1", 4, 4, DOLLAR)
        await views.project([frozen, active], views.place)
        await views.project([frozen, deposited], views.place)
        account = await views.account("1")
        assert account
        assert (account.state.state, account.state.balance) == (AccountState.ACTIVE, DOLLAR)

    @pytest.mark.parametrize(("values", "controls"), UPDATES, ids=["-".join(one) or "nothing" for one, _ in UPDATES])
    async def test_a_read_after_an_update_sees_what_it_sets_and_all_else_as_it_was(
        self, views: Views, history: History, values: dict[str, Any], controls: dict[str, Any]
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await project_log(views, history)
        before = await views.account("1")
        assert before
        await views.project([AccountUpdated("1", 2, 20, **values)], views.place)
        balance = values.get("balance", before.state.balance)
        governed = replace(before.state, balance=balance, controls=replace(before.state.controls, **controls))
        after = Versioned(governed, 2, before.create_time, 20)
        assert await views.account("1") == after
        assert [one.resource for one in await views.accounts_by_owner("ann", 0, 10)] == [after]

    async def test_a_list_that_was_read_before_has_what_changed_since(self, views: Views, history: History) -> None:
        """Whatever is kept of it, and whichever part of it was read."""
        for owner_id in ("ann", "bob"):
            await history.register(owner_id)
        for number in range(12):
            await history.open(str(number), "ann" if number % 3 else "bob")
            await history.deposit(str(number // 2), number + 1)
            await project_log(views, history)
            for owner_id in ("ann", "bob"):
                owned = [one for one in history.accounts.values() if one.resource.state.owner_id == owner_id]
                owned.sort(key=lambda one: one.position)
                for start, limit in ((0, 10), (0, 10), (0, 2), (2, 3), (0, 10)):
                    after = owned[start - 1].position if 0 < start <= len(owned) else 0
                    found = await views.accounts_by_owner(owner_id, after, limit)
                    assert list(found) == [one for one in owned if one.position > after][:limit]

    async def test_an_update_of_a_person_that_sets_nothing_leaves_everything_as_it_was(
        self, views: Views, history: History
    ) -> None:
        await history.register("ann")
        await project_log(views, history)
        before = await views.person("ann")
        assert before
        await views.project([PersonUpdated("ann", 2, 20)], views.place)
        assert await views.person("ann") == before._replace(revision=2, update_time=20)

    async def test_a_change_of_an_unknown_kind_is_an_error_and_the_checkpoint_stays(self, views: Views) -> None:
        unknown: Any = ("a change", 1)
        with pytest.raises(AssertionError):
            await views.project([unknown], LogPosition(7, "account-1", 3))
        assert views.place == BEGINNING

    async def test_the_checkpoint_moves_without_changes_too(self, views: Views) -> None:
        await views.project([], LogPosition(7, "account-1", 3))
        assert views.place == LogPosition(7, "account-1", 3)

    async def test_events_behind_a_gap_are_not_taken(self, views: Views, history: History) -> None:
        """The reader believed the views to be further than they are: they were begun again in between."""
        await history.register("ann")
        await history.register("bob")
        ann, bob = await history.events()
        with pytest.raises(ViewsUnavailable):
            await views.project(changes_of([bob]), bob.place, after=ann.place)
        assert views.place == BEGINNING
        await views.project(changes_of([ann]), ann.place, after=BEGINNING)
        await views.project(changes_of([bob]), bob.place, after=ann.place)
        await assert_holds(views, history)

    async def test_they_keep_what_they_hold_with_their_log_and_their_place(
        self, views: Views, open_views: OpenViews, history: History
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await project_log(views, history)
        await views.close()
        again = await open_views()
        assert again.log == LOG
        assert again.place == views.place
        await assert_holds(again, history)
        await again.close()

    async def test_clearing_forgets_everything_and_the_log_builds_it_again(
        self, views: Views, open_views: OpenViews, history: History
    ) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await project_log(views, history)
        other = LogId("0b" * 16, "05" * 16)
        await views.clear(other)
        assert (views.log, views.place) == (other, BEGINNING)
        assert await views.person("ann") is None
        assert await views.accounts_by_owner("ann", 0, 10) == []
        assert await views.account_events("1", EVERYTHING, 10) == []
        await project_log(views, history)
        await assert_holds(views, history)

    async def test_waiting_ends_when_the_position_is_reached(self, views: Views) -> None:
        await views.wait_for(0)
        waiting = [asyncio.create_task(views.wait_for(position)) for position in (5, 6)]
        await views.project([], LogPosition(4))
        await asyncio.sleep(0.02)
        assert not any(wait.done() for wait in waiting)
        await views.project([], LogPosition(6))
        await asyncio.wait_for(asyncio.gather(*waiting), 5)

    async def test_a_read_sees_at_least_the_position_it_began_at(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        for _ in range(30):
            await history.deposit("1")
        events = await history.events()
        revision_at = {event.position: event.revision for event in events}

        async def write() -> None:
            for event in events:
                await project_events(views, [event])

        writing = asyncio.create_task(write())
        await views.wait_for(events[1].position)
        while not writing.done():
            position = views.place.position
            account = await views.account("1")
            assert account is not None
            assert account.revision >= revision_at[position]
            await asyncio.sleep(0)
        await writing


async def live(history: History, steps: list[tuple[str, str]]) -> None:
    """A life of the bank: the steps that can be made."""
    for person_id in PEOPLE:
        await history.register(person_id)
    for step, name in steps:
        account = history.accounts.get(name)
        if step == "move":
            await history.move(name)
        elif step == "open" and account is None:
            await history.open(name, PEOPLE[len(name) % 2])
        elif step == "deposit" and account is not None:
            await history.deposit(name)
        elif step == "withdraw" and account is not None and account.resource.state.balance.minor:
            await history.withdraw(name)

"""What the views guarantee of movements: mixed into the conformance suite."""

from __future__ import annotations

import pytest

from openbank.domain.money import Money
from openbank.domain.tags import NO_TAGS, Label, Tags
from openbank.eventstore.port import BEGINNING, RecordedEvent
from openbank.views.changes import AccountEventRecorded
from openbank.views.port import MovementFilter, Views
from tests.views.histories import (
    EVERYTHING,
    USD,
    History,
    assert_standings,
    changes_of,
    project_log,
)

RED, BLUE = Label("colour", "red"), Label("colour", "blue")
FILTERS = [
    MovementFilter("1", "order", RED),
    MovementFilter("1", "order"),
    MovementFilter("1", label=RED),
    MovementFilter("", "order", RED),
    MovementFilter("", "order"),
]


class MovementViews:
    async def test_an_account_without_events_has_no_standing_and_no_movements(self, views: Views) -> None:
        assert await views.standing("1", EVERYTHING) is None
        assert await views.standing_at("1", EVERYTHING, EVERYTHING) is None
        assert await views.entries("1", 0, EVERYTHING, 10) == []
        for filter in (MovementFilter("1"), *FILTERS):
            assert await views.movements(filter, EVERYTHING, 10) == []

    async def test_an_opening_without_money_is_not_a_movement(self, views: Views, history: History) -> None:
        await history.register("ann")
        await history.open("1", "ann")
        await project_log(views, history)
        assert await views.entries("1", 0, EVERYTHING, 10) == []
        standing = await views.standing("1", 1)
        assert standing
        assert (standing.entries, standing.credits, standing.debits) == (0, 0, 0)

    async def test_movements_continue_after_any_position_up_to_another(self, views: Views, history: History) -> None:
        await history.register("ann")
        for account_id in ("1", "2"):
            await history.open(account_id, "ann", deposit=Money(USD, 1000))
        for number in range(1, 6):
            await history.deposit("1", number)
            await history.withdraw("2", number)
        await project_log(views, history)
        found = await views.entries("1", 0, EVERYTHING, EVERYTHING)
        assert len(found) == 6
        assert await views.entries("1", found[1].position, found[4].position, 2) == found[2:4]
        assert await views.entries("1", found[1].position, found[4].position, 9) == found[2:5]
        of_account = MovementFilter("1")
        assert await views.movements(of_account, found[4].position, 2) == [found[3], found[2]]
        assert await views.movements(of_account, found[0].position, 2) == []

    async def test_totals_may_exceed_64_bits(self, views: Views, history: History) -> None:
        """Balances cannot: here every deposit counts for many."""
        await history.register("ann")
        await history.open("1", "ann")
        for _ in range(4):
            await history.deposit("1")
        changes = [
            change._replace(moved=2**62) if isinstance(change, AccountEventRecorded) and change.moved else change
            for change in changes_of(await history.events())
        ]
        of_two_deposits = len(changes) - 4
        for some in (changes[:of_two_deposits], changes):
            await views.project(some, (await history.events())[-1].place)
        for revision in range(1, 6):
            standing = await views.standing("1", revision)
            assert standing
            assert standing.credits == (revision - 1) * 2**62

    async def test_events_that_come_again_beside_new_ones_are_counted_once(
        self, views: Views, history: History
    ) -> None:
        """As after a crash between the writes of a batch and its checkpoint."""
        await history.register("ann")
        await history.open("1", "ann", deposit=Money(USD, 1000))
        for number in range(1, 9):
            await history.deposit("1", number)
        events = await history.events()
        done = 0
        for through in (3, 5, 8, len(events)):
            await views.project(changes_of(events[max(0, done - 2) : through]), events[through - 1].place)
            await views.project(changes_of(events[:through]), BEGINNING)
            await assert_standings(views, "1", await self._events_up_to(history, events[through - 1].position))
            done = through

    @pytest.mark.parametrize("filter", FILTERS, ids=str)
    async def test_movements_are_found_by_reference_and_label_newest_first(
        self, views: Views, history: History, filter: MovementFilter
    ) -> None:
        await history.register("ann")
        tagged = {}
        for account_id in ("1", "2"):
            await history.open(account_id, "ann", deposit=Money(USD, 1000))
            for reference in ("", "order", "other"):
                for labels in ([], [RED], [BLUE], [RED, Label("shop", "7")]):
                    await history.deposit(account_id, tags=Tags(reference, labels) if reference or labels else NO_TAGS)
                    tagged[(await history.events())[-1].position] = (account_id, reference, labels)
        for _ in range(2):
            await project_log(views, history)
        wanted = [
            position
            for position, (account_id, reference, labels) in sorted(tagged.items(), reverse=True)
            if filter.account_id in ("", account_id)
            and filter.external_reference in ("", reference)
            and (filter.label is None or filter.label in labels)
        ]
        found = await views.movements(filter, EVERYTHING, EVERYTHING)
        assert [movement.position for movement in found] == wanted
        assert await views.movements(filter, found[0].position, 1) == [found[1]]
        assert await views.movements(filter, found[-1].position, 10) == []

    @staticmethod
    async def _events_up_to(history: History, position: int) -> list[RecordedEvent]:
        return [event for event in await history.events_of("1") if event.position <= position]

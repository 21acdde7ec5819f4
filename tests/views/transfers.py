"""What the views say of transfers, checked for every adapter: a part of `ViewsConformance`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

from openbank.domain.money import Currency, Money
from openbank.domain.tags import Label, Tags
from openbank.domain.transfers import UNSETTLED, Transfer, TransferState
from openbank.eventstore.port import LogPosition
from openbank.views.changes import MovementReversed, TransferFacts, TransferUpdated
from openbank.views.port import Views
from tests.views.histories import LOG

EVERYTHING = 100_000
EVERY_STATE = tuple(TransferState)
DOLLAR = Money(Currency("USD", 2), 100)
RETURNED = "ACCOUNT_NOT_ACTIVE"
TAGS = Tags('order 7, "Zoë"', (Label("shop.id", "[1, 2]"), Label("b", "")))


def sent(transfer_id: str, position: int, source: str = "1", destination: str = "2") -> TransferUpdated:
    facts = TransferFacts(position, 7, source, destination, DOLLAR, "Rent", "hold", TAGS, "u", 10)
    return TransferUpdated(transfer_id, TransferState.IN_TRANSIT, 10, facts)


def received(transfer_id: str) -> TransferUpdated:
    return TransferUpdated(transfer_id, TransferState.COMPLETED, 9, None, 3)


def refused(transfer_id: str) -> TransferUpdated:
    return TransferUpdated(transfer_id, TransferState.RETURNING, 11, None, 4, RETURNED)


def returned(transfer_id: str) -> TransferUpdated:
    return TransferUpdated(transfer_id, TransferState.RETURNED, 12, None, 0, RETURNED)


def transfer(transfer_id: str, state: TransferState, updated: int, received_at: int = 0, refusal: str = "") -> Transfer:
    return Transfer(
        transfer_id, "1", "2", DOLLAR, "Rent", "hold", state, refusal, 10, updated, 7, received_at, TAGS, "u"
    )


COMPLETED = transfer("t", TransferState.COMPLETED, 10, 3)
BACK = transfer("t", TransferState.RETURNED, 12, 4, RETURNED)


async def project(views: Views, *changes: TransferUpdated | MovementReversed) -> None:
    await views.project(changes, LogPosition(views.place.position + 1))


class TransferViews:
    async def test_a_transfer_is_in_the_state_that_its_events_lead_to(self, views: Views) -> None:
        assert await views.transfer("t") is None
        steps = (
            (sent("t", 5), transfer("t", TransferState.IN_TRANSIT, 10)),
            (refused("t"), transfer("t", TransferState.RETURNING, 11, 4, RETURNED)),
            (returned("t"), BACK),
        )
        for change, expected in steps:
            await project(views, change)
            assert await views.transfer("t") == expected

    async def test_its_events_may_come_in_any_order_and_again(self, views: Views) -> None:
        histories = ((sent("t", 5), received("t")), COMPLETED), ((sent("t", 5), refused("t"), returned("t")), BACK)
        number = 0
        for changes, expected in histories:
            for order in permutations(changes):
                number += 1
                name = f"t-{number}"
                named = [change._replace(transfer_id=name) for change in order]
                for change in (*named, named[0]):
                    await project(views, change)
                together = [change._replace(transfer_id=f"{name}-at-once") for change in order]
                await project(views, *together, *together)
                for id in (name, f"{name}-at-once"):
                    found = await views.transfer(id)
                    assert found is not None
                    assert [getattr(found, field) for field in FIELDS] == [getattr(expected, field) for field in FIELDS]

    async def test_a_transfer_that_was_reversed_says_by_which_and_stays_as_it_is(self, views: Views) -> None:
        reversed_by = TransferUpdated("t", None, 0, reversed_by="v")
        expected = replace(COMPLETED, reversed_by_transfer_id="v")
        for number, order in enumerate(permutations((sent("t", 5), received("t"), reversed_by))):
            named = [change._replace(transfer_id=f"t-{number}") for change in order]
            for change in (*named, named[0]):
                await project(views, change)
            together = [change._replace(transfer_id=f"u-{number}") for change in order]
            await project(views, *together, *together)
            for id in (f"t-{number}", f"u-{number}"):
                assert await views.transfer(id) == replace(expected, transfer_id=id)

    async def test_a_reversal_of_a_movement_is_found_and_stays(self, views: Views) -> None:
        first = MovementReversed(5, "1", 2, 3)
        await project(views, first, MovementReversed(6, "1", 7, 8), MovementReversed(7, "2", 2, 9))
        await project(views, first, first._replace(reversed_by=4))
        asked = [("1", 2), ("1", 7), ("2", 2), ("1", 3), ("1", 8), ("3", 2)]
        assert [await views.reversal(*one) for one in asked] == [3, 8, 9, 0, 0, 0]
        await views.clear(LOG)
        assert await views.reversal("1", 2) == 0

    async def test_a_transfer_not_known_to_be_sent_is_in_no_list(self, views: Views) -> None:
        await project(views, refused("t"))
        assert await views.transfer("t") is None
        assert await self.ids(views, "", EVERY_STATE) == []
        assert await views.unsettled_transfers(0, EVERYTHING) == []
        assert await views.unsettled_from("1") == 0

    async def test_lists_are_newest_first_of_an_account_and_of_states(self, views: Views) -> None:
        ways = (("a", 1, "1", "2"), ("b", 2, "2", "1"), ("c", 3, "1", "3"), ("d", 4, "3", "2"))
        await project(views, *(sent(*way) for way in reversed(ways)))
        await project(views, received("a"), refused("b"))
        assert await self.ids(views, "", EVERY_STATE) == ["d", "c", "b", "a"]
        assert await self.ids(views, "1", EVERY_STATE) == ["c", "b", "a"]
        assert await self.ids(views, "2", EVERY_STATE) == ["d", "b", "a"]
        assert await self.ids(views, "1", UNSETTLED) == ["c", "b"]
        assert await self.ids(views, "1", (TransferState.COMPLETED,)) == ["a"]
        assert await self.ids(views, "1", EVERY_STATE, before=3, limit=1) == ["b"]
        assert await self.ids(views, "none", EVERY_STATE) == []

    async def test_unsettled_transfers_are_found_oldest_first(self, views: Views) -> None:
        await project(views, *(sent(name, position) for position, name in enumerate("abcde", 1)))
        await project(views, received("a"), refused("b"), refused("c"), returned("c"))
        listed = await views.unsettled_transfers(0, EVERYTHING)
        assert [(one.position, one.transfer.transfer_id) for one in listed] == [(2, "b"), (4, "d"), (5, "e")]
        assert [one.transfer.transfer_id for one in await views.unsettled_transfers(2, 1)] == ["d"]
        assert [await views.unsettled_from(account_id) for account_id in ("1", "2")] == [3, 0]

    @staticmethod
    async def ids(
        views: Views,
        account_id: str,
        states: Sequence[TransferState],
        before: int = EVERYTHING,
        limit: int = EVERYTHING,
    ) -> list[str]:
        return [one.transfer.transfer_id for one in await views.transfers(account_id, states, before, limit)]


FIELDS = [field for field in Transfer.__dataclass_fields__ if field != "transfer_id"]

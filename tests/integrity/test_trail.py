"""An event is believed only if it follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.accounts.v1 import account_events_pb2 as accounts_pb2
from openbank.codec.events import DomainEvent, encode
from openbank.domain.account_events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    Funds,
    MoneyDeposited,
    MoneyWithdrawn,
    TransferRefused,
)
from openbank.domain.controls import AccountState
from openbank.domain.errors import DoesNotFollow
from openbank.domain.internal import AccountNumberReserved
from openbank.domain.money import MAX_MINOR, Currency, Money
from openbank.domain.movements import OpenAccount
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.integrity.trail import START, Trail, follow, followed, trail_after
from tests.examples import usd

TIME = 1_700_000_000_000_000
OPENED = AccountOpened("1", "john", "123", usd(100))


def recorded(
    revision: int, event: DomainEvent, owner_id: str = "john", time: int = TIME, stream: str = "account-1"
) -> RecordedEvent:
    name, data = encode(event)
    return RecordedEvent(revision, stream, revision, bytes(16), name, data, Metadata(time, owner_id=owner_id))


def after(*events: RecordedEvent) -> Trail:
    trail = START
    for event in events:
        trail, _ = follow(trail, event)
    return trail


def test_a_history_that_the_bank_wrote_follows() -> None:
    events = [
        recorded(1, OPENED),
        recorded(2, MoneyDeposited(usd(5), "", usd(105))),
        recorded(3, MoneyWithdrawn(usd(105), "", usd(0))),
    ]
    assert after(*events) == Trail(3, True, "john", Funds(usd(0), usd(0)))


def test_one_event_says_all_that_the_next_must_follow() -> None:
    events = [recorded(1, OPENED), recorded(2, MoneyDeposited(usd(5), "", usd(105)))]
    assert trail_after(events[-1]) == after(*events)


def test_an_event_to_append_is_checked_and_is_the_same_bytes() -> None:
    opened, paid = recorded(1, OPENED), recorded(2, MoneyDeposited(usd(5), "", usd(105)))
    stored_type, data = followed(after(opened), "account-1", MoneyDeposited(usd(5), "", usd(105)), paid.metadata)
    assert (stored_type, bytes(data)) == (paid.type, paid.data)
    assert (data.before, data.after) == (after(opened), after(opened, paid))
    with pytest.raises(DoesNotFollow):
        followed(after(opened), "account-1", MoneyDeposited(usd(5), "", usd(106)), paid.metadata)


def test_nothing_but_refusals_of_transfers_follows_a_closing() -> None:
    closed = AccountClosed(usd(0), usd(0), "", TIME)
    trail = after(recorded(1, replace(OPENED, initial_deposit=usd(0))), recorded(2, closed))
    refused = TransferRefused(usd(0), usd(0), "t-1", "2", usd(1), "ACCOUNT_NOT_ACTIVE")
    trail, _ = follow(trail, recorded(3, refused))
    for event in (MoneyDeposited(usd(1), "", usd(1)), AccountFrozen(usd(0), usd(0), AccountState.FROZEN, "x"), closed):
        with pytest.raises(DoesNotFollow):
            follow(trail, recorded(4, event))


def test_an_event_of_another_program_has_a_place_and_no_meaning() -> None:
    note = recorded(2, OPENED)._replace(type="OrderPlaced", data=b"anything")
    trail, happened = follow(after(recorded(1, OPENED)), note)
    assert (trail, happened) == (Trail(2, True, "john", Funds(usd(100), usd(100))), None)
    assert follow(trail, recorded(3, MoneyDeposited(usd(1), "", usd(101))))[1] is not None


euro = Money(Currency("EUR", 2), 101)
WRONG: dict[str, RecordedEvent] = {
    "a revision too many": recorded(3, MoneyDeposited(usd(1), "", usd(101))),
    "a revision again": recorded(1, MoneyDeposited(usd(1), "", usd(101))),
    "a second opening": recorded(2, OPENED),
    "a balance that is not the sum": recorded(2, MoneyDeposited(usd(1), "", usd(1_000_000))),
    "a balance alone that is not the sum": recorded(2, MoneyDeposited(usd(1), "", usd(1_000_000), usd(101))),
    "an available balance alone that is not the sum": recorded(2, MoneyDeposited(usd(1), "", usd(101), usd(1_000_000))),
    "a withdrawal that adds": recorded(2, MoneyWithdrawn(usd(1), "", usd(101))),
    "an amount of nothing": recorded(2, MoneyDeposited(usd(0), "", usd(100))),
    "a negative amount": recorded(2, MoneyDeposited(usd(-1), "", usd(99))),
    "a balance below zero": recorded(2, MoneyWithdrawn(usd(101), "", usd(-1))),
    "a balance past the greatest": recorded(2, MoneyDeposited(usd(MAX_MINOR), "", usd(MAX_MINOR + 100))),
    "another currency": recorded(2, MoneyDeposited(Money(euro.currency, 1), "", euro)),
    "another number of decimals": recorded(
        2, MoneyDeposited(Money(Currency("USD", 3), 1), "", Money(Currency("USD", 3), 101))
    ),
    "another owner": recorded(2, MoneyDeposited(usd(1), "", usd(101)), owner_id="jane"),
    "no owner": recorded(2, MoneyDeposited(usd(1), "", usd(101)), owner_id=""),
    "no record time": recorded(2, MoneyDeposited(usd(1), "", usd(101)), time=0),
    "a record time past the year 9999": recorded(2, MoneyDeposited(usd(1), "", usd(101)), time=253_402_300_800_000_000),
    "part of nothing": recorded(2, MoneyDeposited(usd(1), "", usd(101)))._replace(
        metadata=Metadata(TIME, owner_id="john", part=0, parts=10**30)
    ),
    "a part after the last": recorded(2, MoneyDeposited(usd(1), "", usd(101)))._replace(
        metadata=Metadata(TIME, owner_id="john", part=1, parts=1)
    ),
    "no payload": recorded(2, MoneyDeposited(usd(1), "", usd(101)))._replace(data=b""),
    "no message": recorded(2, MoneyDeposited(usd(1), "", usd(101)))._replace(data=b"{]"),
    "a person's event": recorded(2, OPENED)._replace(type="openbank.persons.v1.PersonAddressUpdated"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_event_that_the_bank_cannot_have_written_does_not_follow(what: str) -> None:
    with pytest.raises(DoesNotFollow):
        follow(after(recorded(1, OPENED)), WRONG[what])


def test_an_unknown_type_belongs_to_a_newer_version_or_another_program() -> None:
    gift = recorded(2, MoneyDeposited(usd(1), "", usd(101)))._replace(type="openbank.accounts.v9.Gift")
    trail = after(recorded(1, OPENED))
    with pytest.raises(NewerVersionNeeded, match=r"account-1 has openbank\.accounts\.v9\.Gift at revision 2"):
        follow(trail, gift)
    assert follow(trail, gift._replace(type="billing.Gift")) == (trail._replace(revision=2), None)


@pytest.mark.parametrize("stream", ["account-1", "person-1", "number-1", "request-1"])
@pytest.mark.parametrize(
    "first", [MoneyDeposited(usd(1), "", usd(1)), MoneyWithdrawn(usd(1), "", usd(0)), replace(OPENED, owner_id="")]
)
def test_a_stream_begins_with_what_begins_it(stream: str, first: Any) -> None:
    with pytest.raises(DoesNotFollow):
        follow(START, recorded(1, first, stream=stream))


@given(
    st.lists(st.integers(-500, 500).filter(bool), max_size=20),
    st.integers(0, 20),
    st.integers(-1000, 1000),
    st.integers(-1000, 1000),
)
def test_no_changed_figure_ever_becomes_part_of_a_balance(
    moves: list[int], where: int, amount_by: int, balance_by: int
) -> None:
    """Money that is added to a balance alone, or to an amount alone, is not believed, nor is what comes after it."""
    balance = usd(1_000_000)
    events = [recorded(1, replace(OPENED, initial_deposit=balance))]
    for minor in moves:
        kind = MoneyDeposited if minor > 0 else MoneyWithdrawn
        balance = balance.plus(usd(minor))
        events.append(recorded(len(events) + 1, kind(usd(abs(minor)), "", balance)))
    assert after(*events).funds == Funds(balance, balance)
    where = min(where, len(events) - 1)
    before = after(*events[:where])
    _, happened = follow(before, events[where])
    if not isinstance(happened, MoneyDeposited | MoneyWithdrawn):
        return
    amount, stated = happened.amount.plus(usd(amount_by)), happened.balance_after.plus(usd(balance_by))
    changed = recorded(where + 1, replace(happened, amount=amount, balance_after=stated))
    in_step = balance_by == (amount_by if isinstance(happened, MoneyDeposited) else -amount_by)
    if in_step and amount.minor > 0:
        assert follow(before, changed)[0].funds == Funds(stated, stated)
    else:
        with pytest.raises(DoesNotFollow):
            follow(before, changed)
    if balance_by and where < len(events) - 1:
        with pytest.raises(DoesNotFollow):
            after(*events[:where], changed, *events[where + 1 :])


def test_a_payload_that_says_two_things_is_not_believed() -> None:
    """It is published as it is stored, so what it says beside what is looked at must be the same."""
    opened = accounts_pb2.AccountOpened.FromString(encode(OPENED)[1])
    opened.balance_after.units = 1_000_000
    with pytest.raises(DoesNotFollow):
        follow(START, recorded(1, OPENED)._replace(data=opened.SerializeToString()))
    opened = accounts_pb2.AccountOpened.FromString(encode(OPENED)[1])
    opened.currency_code = "EUR"
    with pytest.raises(DoesNotFollow):
        follow(START, recorded(1, OPENED)._replace(data=opened.SerializeToString()))
    deposit = MoneyDeposited(usd(1), "", usd(101))
    paid = accounts_pb2.MoneyDeposited.FromString(encode(deposit)[1])
    paid.balance_after.currency_code = "KWD"
    with pytest.raises(DoesNotFollow):
        follow(after(recorded(1, OPENED)), recorded(2, deposit)._replace(data=paid.SerializeToString()))


RESERVED = AccountNumberReserved(OpenAccount("1", "john", "12-34", usd(5)), b"", b"", "", TIME)


@pytest.mark.parametrize("stream", ["number-1234", "number-12-34"])
def test_a_number_is_reserved_in_its_own_stream_with_hyphens_or_without(stream: str) -> None:
    assert follow(START, recorded(1, RESERVED, stream=stream, owner_id=""))[1] == RESERVED
    with pytest.raises(DoesNotFollow):
        follow(START, recorded(1, RESERVED, stream="number-99", owner_id=""))


@pytest.mark.parametrize(
    "wrong",
    [{"account_id": ""}, {"owner_id": ""}, {"initial_deposit": usd(-1)}, {"initial_deposit": usd(MAX_MINOR + 1)}],
)
def test_a_reservation_that_no_request_can_have_made_is_not_believed(wrong: dict[str, Any]) -> None:
    """The next caller that meets it would open its account."""
    reserved = replace(RESERVED, command=replace(RESERVED.command, **wrong))
    with pytest.raises(DoesNotFollow):
        follow(START, recorded(1, reserved, stream="number-1234", owner_id=""))

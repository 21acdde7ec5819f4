"""States, limits, holds and transfers: what each allows, and that no history of them makes or loses money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbank.domain import account_checks, holds, limits, movements, states, transfers
from openbank.domain.account import Account, apply
from openbank.domain.account_events import (
    AccountEvent,
    HoldCaptured,
    MoneyDeposited,
    MoneyWithdrawn,
    TransferReceived,
    TransferRefused,
    TransferSent,
)
from openbank.domain.controls import AccountState, Controls, Hold, OpenHolds, SpendingLimits, Spent
from openbank.domain.errors import (
    AccountNotActive,
    AccountNotEmpty,
    AccountNotFound,
    AccountNotFrozen,
    BalanceLimitExceeded,
    CaptureExceedsHold,
    DestinationRefuses,
    HoldNotFound,
    HoldNotOpen,
    InsufficientFunds,
    InvalidFields,
    Refused,
    SpendingLimitExceeded,
    TooManyHolds,
)
from openbank.domain.holds import CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.limits import SetOverdraftLimit, SetSpendingLimits
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.movements import Deposit, Withdraw
from openbank.domain.states import CloseAccount, FreezeAccount, UnfreezeAccount
from openbank.domain.transfers import SendTransfer
from tests.examples import ACCOUNT, EUR, usd

HOUR = 3_600_000_000
NOW = 1_764_201_600_000_000
"""2025-11-27T00:00:00Z."""
EMPTY = replace(ACCOUNT, balance=usd(0))


def after(account: Account, *events: AccountEvent) -> Account:
    """Folded, and each event checked to follow, as every reader of the log does."""
    for event in events:
        account_checks.check_follows(account.funds, event)
        account = apply(account, event)
        assert (account.balance, account.available) == (event.balance_after, event.available_after)
    return account


def in_state(state: AccountState, account: Account = ACCOUNT) -> Account:
    return replace(account, controls=replace(account.controls, state=state))


def with_hold(account: Account, minor: int, expire_time: int = NOW + HOUR) -> tuple[Account, str]:
    placed = holds.place(account, PlaceHold("a-1", usd(minor), "", expire_time), NOW)
    return after(account, placed), placed.hold_id


def sent_by(account: Account, minor: int, destination: Account = ACCOUNT, hold_id: str = "") -> TransferSent:
    return transfers.send(account, destination, SendTransfer("t-1", "a-1", "a-2", usd(minor), "", hold_id), NOW)


# States

HELD, HOLD_ID = with_hold(ACCOUNT, 10)
CREDITS: dict[str, Callable[[Account], object]] = {
    "deposit": lambda account: movements.deposit(account, Deposit("a-1", usd(1), "")),
}
DEBITS: dict[str, Callable[[Account], object]] = {
    "withdraw": lambda account: movements.withdraw(account, Withdraw("a-1", usd(1), ""), NOW),
    "send": lambda account: sent_by(account, 1),
    "send out of a hold": lambda account: sent_by(account, 1, hold_id=HOLD_ID),
    "place": lambda account: holds.place(account, PlaceHold("a-1", usd(1)), NOW),
    "capture": lambda account: holds.capture(account, CaptureHold("a-1", HOLD_ID, usd(1), False, "")),
}
ALWAYS_BUT_CLOSED: dict[str, Callable[[Account], object]] = {
    "come back": lambda account: transfers.take_back(account, sent_by(ACCOUNT, 1), "ACCOUNT_NOT_ACTIVE", "a-1"),
    "release": lambda account: holds.release(account, ReleaseHold("a-1", HOLD_ID, "")),
    "overdraft limit": lambda account: limits.set_overdraft_limit(account, SetOverdraftLimit("a-1", usd(1))),
    "spending limits": lambda account: limits.set_spending_limits(account, SetSpendingLimits("a-1", usd(1), None, "")),
    "freeze": lambda account: states.freeze(account, FreezeAccount("a-1", AccountState.FROZEN, "")),
}
S = AccountState
ALLOWED = (
    [(name, act, S.DEBITS_FROZEN, True) for name, act in CREDITS.items()]
    + [(name, act, state, False) for name, act in CREDITS.items() for state in (S.CREDITS_FROZEN, S.FROZEN, S.CLOSED)]
    + [(name, act, S.CREDITS_FROZEN, True) for name, act in DEBITS.items()]
    + [(name, act, state, False) for name, act in DEBITS.items() for state in (S.DEBITS_FROZEN, S.FROZEN, S.CLOSED)]
    + [
        (name, act, state, True)
        for name, act in ALWAYS_BUT_CLOSED.items()
        for state in (S.DEBITS_FROZEN, S.CREDITS_FROZEN, S.FROZEN)
    ]
    + [(name, act, S.ACTIVE, True) for kind in (CREDITS, DEBITS, ALWAYS_BUT_CLOSED) for name, act in kind.items()]
)


@pytest.mark.parametrize(("name", "act", "state", "allowed"), ALLOWED, ids=lambda value: getattr(value, "name", None))
def test_each_state_allows_what_the_table_says(
    name: str, act: Callable[[Account], object], state: S, allowed: bool
) -> None:
    account = in_state(state, HELD)
    if allowed:
        assert act(account)
    else:
        with pytest.raises(AccountNotActive):
            act(account)


@pytest.mark.parametrize("state", list(AccountState))
def test_a_transfer_that_arrives_is_received_or_refused_in_every_state(state: AccountState) -> None:
    outcome = transfers.receive(in_state(state), sent_by(ACCOUNT, 5), "a-1")
    if state.takes_credits:
        assert isinstance(outcome, TransferReceived)
        assert outcome.balance_after == ACCOUNT.balance.plus(usd(5))
    else:
        assert isinstance(outcome, TransferRefused)
        assert (outcome.reason, outcome.balance_after) == ("ACCOUNT_NOT_ACTIVE", ACCOUNT.balance)


def test_a_freeze_replaces_an_earlier_one_and_an_unfreeze_ends_it() -> None:
    frozen = after(
        ACCOUNT,
        states.freeze(ACCOUNT, FreezeAccount("a-1", S.FROZEN, "Fraud")),
        states.freeze(ACCOUNT, FreezeAccount("a-1", S.DEBITS_FROZEN, "Dispute")),
    )
    assert (frozen.state, frozen.controls.freeze_reason) == (S.DEBITS_FROZEN, "Dispute")
    active = after(frozen, states.unfreeze(frozen, UnfreezeAccount("a-1")))
    assert (active.state, active.controls.freeze_reason) == (S.ACTIVE, "")
    with pytest.raises(AccountNotFrozen):
        states.unfreeze(active, UnfreezeAccount("a-1"))


def test_only_an_empty_account_is_closed() -> None:
    closed = after(EMPTY, states.close(EMPTY, CloseAccount("a-1", "Moved"), 0, NOW))
    assert (closed.state, closed.controls.close_time) == (S.CLOSED, NOW)
    overdrawn = after(EMPTY, limits.set_overdraft_limit(EMPTY, SetOverdraftLimit("a-1", usd(10))))
    held, _ = with_hold(overdrawn, 10)
    for account, in_transit, told in [
        (ACCOUNT, 0, {"balance": "1000.00 USD"}),
        (held, 0, {"openHolds": "1"}),
        (EMPTY, 2, {"transfersInTransit": "2"}),
    ]:
        with pytest.raises(AccountNotEmpty) as refused:
            states.close(account, CloseAccount("a-1", ""), in_transit, NOW)
        assert told.items() <= refused.value.metadata.items()


@pytest.mark.parametrize("name", ["overdraft limit", "spending limits", "freeze", "close"])
def test_nothing_changes_a_closed_account(name: str) -> None:
    def close(account: Account) -> object:
        return states.close(account, CloseAccount("a-1", ""), 0, NOW)

    with pytest.raises(AccountNotActive):
        {**ALWAYS_BUT_CLOSED, "close": close}[name](in_state(S.CLOSED, EMPTY))


# Limits


def test_an_overdraft_is_used_up_to_its_limit_and_not_a_cent_more() -> None:
    account = after(EMPTY, limits.set_overdraft_limit(EMPTY, SetOverdraftLimit("a-1", usd(500))))
    assert account.available == usd(500)
    account = after(account, movements.withdraw(account, Withdraw("a-1", usd(500), ""), NOW))
    assert (account.balance, account.available) == (usd(-500), usd(0))
    with pytest.raises(InsufficientFunds):
        movements.withdraw(account, Withdraw("a-1", usd(1), ""), NOW)


def test_a_limit_below_what_is_used_stops_debits_and_takes_credits() -> None:
    account = after(EMPTY, limits.set_overdraft_limit(EMPTY, SetOverdraftLimit("a-1", usd(500))))
    account = after(account, movements.withdraw(account, Withdraw("a-1", usd(400), ""), NOW))
    lowered = limits.set_overdraft_limit(account, SetOverdraftLimit("a-1", usd(100)))
    assert (lowered.old_limit, lowered.available_after) == (usd(500), usd(-300))
    account = after(account, lowered)
    with pytest.raises(InsufficientFunds):
        movements.withdraw(account, Withdraw("a-1", usd(1), ""), NOW)
    account = after(account, movements.deposit(account, Deposit("a-1", usd(301), "")))
    assert account.available == usd(1)


def limited(per_transaction: int | None, per_day: int | None, zone: str = "") -> Account:
    one, day = (None if limit is None else usd(limit) for limit in (per_transaction, per_day))
    return after(ACCOUNT, limits.set_spending_limits(ACCOUNT, SetSpendingLimits("a-1", one, day, zone)))


def withdrawn(account: Account, minor: int, now: int = NOW) -> Account:
    return after(account, movements.withdraw(account, Withdraw("a-1", usd(minor), ""), now))


def test_one_transaction_spends_up_to_its_limit() -> None:
    account = withdrawn(limited(50, None), 50)
    with pytest.raises(SpendingLimitExceeded) as refused:
        withdrawn(account, 51)
    assert refused.value.metadata["limit"] == "0.50 USD"
    assert "resetTime" not in refused.value.metadata


def test_a_day_spends_up_to_its_limit_and_the_next_day_again() -> None:
    account = withdrawn(withdrawn(limited(None, 100), 60), 40)
    with pytest.raises(SpendingLimitExceeded) as refused:
        withdrawn(account, 1)
    assert refused.value.metadata["spent"] == "1.00 USD"
    assert refused.value.metadata["resetTime"] == "2025-11-28T00:00:00+00:00"
    assert withdrawn(account, 100, NOW + 24 * HOUR).controls.spent == Spent(date(2025, 11, 28), 100)


def test_a_day_begins_at_midnight_where_the_account_is() -> None:
    account = withdrawn(limited(None, 100, "Pacific/Auckland"), 100)
    assert account.controls.spent == Spent(date(2025, 11, 27), 100)
    with pytest.raises(SpendingLimitExceeded) as refused:
        withdrawn(account, 1)
    assert refused.value.metadata["resetTime"] == "2025-11-27T11:00:00+00:00"
    assert withdrawn(account, 1, NOW + 11 * HOUR)


def test_a_clock_that_was_set_back_grants_nothing() -> None:
    account = withdrawn(limited(None, 100), 100)
    with pytest.raises(SpendingLimitExceeded):
        withdrawn(account, 1, NOW - 48 * HOUR)


def test_a_hold_is_counted_when_it_is_placed_and_its_capture_is_not() -> None:
    account, hold_id = with_hold(limited(None, 100), 100)
    with pytest.raises(SpendingLimitExceeded):
        withdrawn(account, 1)
    account = after(account, holds.capture(account, CaptureHold("a-1", hold_id, usd(60), False, "")))
    account = after(account, sent_by(account, 40, hold_id=hold_id))
    assert account.controls.spent is not None
    assert account.controls.spent.minor == 100


def test_spending_limits_can_be_removed() -> None:
    account = limited(1, 1)
    free = after(account, limits.set_spending_limits(account, SetSpendingLimits("a-1", None, None, "")))
    assert free.controls.spending is None
    assert withdrawn(free, 100)


@pytest.mark.parametrize("limit", [usd(0), usd(-1), Money(EUR, 5)])
def test_a_limit_is_positive_and_in_the_accounts_currency(limit: Money) -> None:
    with pytest.raises(InvalidFields):
        limits.set_spending_limits(ACCOUNT, SetSpendingLimits("a-1", limit, None, ""))
    if limit != usd(0):
        with pytest.raises(InvalidFields):
            limits.set_overdraft_limit(ACCOUNT, SetOverdraftLimit("a-1", limit))


# Holds


def test_held_money_cannot_be_spent() -> None:
    account, _ = with_hold(ACCOUNT, 99_999)
    assert (account.balance, account.available) == (ACCOUNT.balance, usd(1))
    with pytest.raises(InsufficientFunds):
        withdrawn(account, 2)
    with pytest.raises(InsufficientFunds):
        with_hold(account, 2)


def test_a_hold_is_captured_in_parts_until_nothing_remains() -> None:
    account, hold_id = with_hold(ACCOUNT, 100)
    account = after(account, holds.capture(account, CaptureHold("a-1", hold_id, usd(30), False, "")))
    with pytest.raises(CaptureExceedsHold) as refused:
        holds.capture(account, CaptureHold("a-1", hold_id, usd(71), False, ""))
    assert refused.value.metadata["remaining"] == "0.70 USD"
    account = after(account, holds.capture(account, CaptureHold("a-1", hold_id, None, False, "")))
    assert (account.balance, account.available) == (usd(99_900), usd(99_900))
    with pytest.raises(HoldNotOpen):
        holds.capture(account, CaptureHold("a-1", hold_id, None, False, ""))


def test_a_final_capture_gives_the_rest_back() -> None:
    account, hold_id = with_hold(ACCOUNT, 100)
    captured = holds.capture(account, CaptureHold("a-1", hold_id, usd(30), True, ""))
    assert (captured.released, captured.remaining_after) == (usd(70), usd(0))
    account = after(account, captured)
    assert (account.available, len(account.controls.holds)) == (usd(99_970), 0)


def test_a_hold_that_ended_is_distinguished_from_one_that_never_was() -> None:
    account, hold_id = with_hold(ACCOUNT, 100)
    account = after(account, holds.release(account, ReleaseHold("a-1", hold_id, "")))
    for gone in (hold_id, hold_id.upper()):
        with pytest.raises(HoldNotOpen if gone == hold_id else HoldNotFound):
            holds.release(account, ReleaseHold("a-1", gone, ""))
    for never in ("h-1", "", holds.new_id("a-1", 1), holds.new_id("a-2", 0)):
        with pytest.raises(HoldNotFound):
            holds.release(account, ReleaseHold("a-1", never, ""))


def test_open_holds_are_bounded() -> None:
    many = OpenHolds({str(number): Hold(1, NOW, number) for number in range(holds.OPEN_MAX)})
    account = replace(ACCOUNT, controls=replace(HELD.controls, holds=many))
    with pytest.raises(TooManyHolds):
        with_hold(account, 1)


def test_holds_whose_time_has_come_expire_the_oldest_first() -> None:
    account = ACCOUNT
    ids = []
    for hours in (3, 1, 2):
        account, hold_id = with_hold(account, hours, NOW + hours * HOUR)
        ids.append(hold_id)
    expired = list(holds.due(account, NOW + 2 * HOUR))
    assert [event.hold_id for event in expired] == [ids[1], ids[2]]
    account = after(account, *expired)
    assert account.available == usd(100_000 - 3)
    assert not list(holds.due(account, NOW + 2 * HOUR))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_open_holds_know_the_first_to_end_after_any_changes(changes: Sequence[tuple[str, int, int]]) -> None:
    opened, expected = OpenHolds({}), dict[str, Hold]()
    for hold_id, remaining, expire_time in changes:
        hold = Hold(remaining, expire_time, 1)
        opened, before = opened.with_one(hold_id, hold), opened
        assert dict(before) == expected
        expected = {**expected, hold_id: hold} if remaining else {k: v for k, v in expected.items() if k != hold_id}
        assert dict(opened) == expected
        assert opened.first_expiry == min((one.expire_time for one in expected.values()), default=None)


# Transfers


def test_a_transfer_leaves_one_account_and_arrives_in_the_other() -> None:
    sent = sent_by(ACCOUNT, 100)
    received = transfers.receive(EMPTY, sent, "a-1")
    assert after(ACCOUNT, sent).balance == usd(99_900)
    assert after(EMPTY, received).balance == usd(100)


@pytest.mark.parametrize(
    ("destination", "refused"),
    [
        (None, AccountNotFound),
        (replace(EMPTY, balance=Money(EUR, 0)), InvalidFields),
        (in_state(S.FROZEN), DestinationRefuses),
        (in_state(S.CLOSED), DestinationRefuses),
        (replace(EMPTY, balance=usd(MAX_MINOR)), DestinationRefuses),
    ],
    ids=["none", "other currency", "frozen", "closed", "full"],
)
def test_a_predictable_refusal_comes_before_anything_is_sent(destination: Any, refused: type[Exception]) -> None:
    with pytest.raises(refused) as told:
        sent_by(ACCOUNT, 1, destination)
    assert str(MAX_MINOR) not in str(told.value).replace(",", "").replace(".", "")


def test_refusals_of_the_source_come_first() -> None:
    with pytest.raises(InsufficientFunds):
        sent_by(EMPTY, 1, in_state(S.CLOSED))


def test_money_that_is_refused_comes_back() -> None:
    sent = sent_by(ACCOUNT, 100)
    source = after(ACCOUNT, sent)
    refused = transfers.receive(in_state(S.CLOSED, EMPTY), sent, "a-1")
    assert isinstance(refused, TransferRefused)
    back = after(source, transfers.take_back(source, sent, refused.reason, "a-1"))
    assert back.balance == ACCOUNT.balance


def test_money_that_would_exceed_the_limit_waits() -> None:
    full = replace(ACCOUNT, balance=usd(MAX_MINOR))
    sent = sent_by(full, 100)
    source = after(full, sent, MoneyDeposited(usd(1), "", usd(MAX_MINOR - 99)))
    with pytest.raises(BalanceLimitExceeded):
        transfers.take_back(source, sent, "ACCOUNT_NOT_ACTIVE", "a-1")


def test_a_transfer_out_of_a_hold_leaves_the_rest_on_hold() -> None:
    account, hold_id = with_hold(ACCOUNT, 100)
    account = after(account, sent_by(account, 60, hold_id=hold_id))
    assert (account.balance, account.available, account.controls.held) == (usd(99_940), usd(99_900), 40)
    with pytest.raises(CaptureExceedsHold):
        sent_by(account, 41, hold_id=hold_id)


# Any history

STEPS = st.sampled_from(
    ["deposit", "withdraw", "place", "capture", "release", "expire", "send", "return", "overdraft", "limits", "freeze"]
)


class Life:
    """An account, what it has sent that is neither there nor back, and what was paid in and not out."""

    def __init__(self) -> None:
        self.account, self.paid, self.transit, self.now = EMPTY, 0, list[TransferSent](), NOW

    def step(self, name: str, minor: int, which: int) -> None:
        self.now += minor * HOUR // 100
        if name == "return" and not self.transit:
            return
        try:
            events = self.decide(name, minor, which)
        except Refused:
            return
        self.account = after(self.account, *events)
        for event in events:
            if isinstance(event, MoneyDeposited | MoneyWithdrawn | HoldCaptured):
                self.paid += event.moved
            if isinstance(event, TransferSent):
                self.transit.append(event)

    def decide(self, name: str, minor: int, which: int) -> Sequence[AccountEvent]:
        account, amount = self.account, usd(minor)
        open_holds = list(account.controls.holds)
        hold_id = open_holds[which] if which < len(open_holds) else "none"
        match name:
            case "deposit":
                return [movements.deposit(account, Deposit("a-1", amount, ""))]
            case "withdraw":
                return [movements.withdraw(account, Withdraw("a-1", amount, ""), self.now)]
            case "place":
                return [holds.place(account, PlaceHold("a-1", amount, ttl=HOUR), self.now)]
            case "capture":
                return [holds.capture(account, CaptureHold("a-1", hold_id, amount, which % 2 == 0, ""))]
            case "release":
                return [holds.release(account, ReleaseHold("a-1", hold_id, ""))]
            case "expire":
                return list(holds.due(account, self.now))
            case "send":
                return [sent_by(account, minor, hold_id="" if which > 1 else hold_id)]
            case "return":
                return [transfers.take_back(account, self.transit.pop(), "ACCOUNT_NOT_ACTIVE", "a-1")]
            case "overdraft":
                return [limits.set_overdraft_limit(account, SetOverdraftLimit("a-1", amount))]
            case "limits":
                return [limits.set_spending_limits(account, SetSpendingLimits("a-1", None, amount, ""))]
            case _:
                if account.state is S.ACTIVE:
                    return [states.freeze(account, FreezeAccount("a-1", S.FROZEN, ""))]
                return [states.unfreeze(account, UnfreezeAccount("a-1"))]


@settings(max_examples=300)
@given(st.lists(st.tuples(STEPS, st.integers(1, 300), st.integers(0, 3)), max_size=40))
def test_every_event_of_any_history_follows_and_no_money_is_made_or_lost(steps: Sequence[tuple[str, int, int]]) -> None:
    life = Life()
    for step in steps:
        life.step(*step)
        account, controls = life.account, life.account.controls
        assert account.balance.minor + sum(one.amount.minor for one in life.transit) == life.paid
        assert controls.held == sum(hold.remaining for hold in controls.holds.values()) >= 0
        assert account.available.minor == account.balance.minor + controls.overdraft_limit - controls.held


def test_equal_controls_have_equal_hashes() -> None:
    assert hash(Controls(spending=SpendingLimits(1, 2, "UTC"))) == hash(Controls(spending=SpendingLimits(1, 2, "UTC")))

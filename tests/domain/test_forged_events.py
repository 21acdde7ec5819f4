"""Events that the bank cannot have written: no reader believes one that shows it, and no fold one that does not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import MappingProxyType

import pytest

from openbank.domain.account import Account, apply
from openbank.domain.account_checks import check_follows
from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountUnfrozen,
    DepositReversed,
    Funds,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import AccountState, Controls, Hold, OpenHolds, Reversals, SpendingLimits, Spent
from openbank.domain.errors import DoesNotFollow
from openbank.domain.money import MAX_MINOR
from tests.examples import ACCOUNT, usd

HELD = replace(
    ACCOUNT,
    balance=usd(100),
    controls=Controls(
        overdraft_limit=5,
        holds=OpenHolds({"h": Hold(10, 7, 1)}),
        held=10,
        holds_placed=1,
        reversals=Reversals(MappingProxyType({3: 5})),
    ),
)
BALANCE, AVAILABLE = HELD.funds
DAY = date(2025, 11, 27)

SHOWS_IT: dict[str, AccountEvent] = {
    "a freeze that closes": AccountFrozen(BALANCE, AVAILABLE, AccountState.CLOSED, "x"),
    "a freeze that freezes nothing": AccountFrozen(BALANCE, AVAILABLE, AccountState.ACTIVE, "x"),
    "money left on a closed account": AccountClosed(BALANCE, AVAILABLE, "", 1),
    "a negative overdraft limit": OverdraftLimitSet(usd(-1), usd(5), BALANCE, usd(89)),
    "an overdraft limit beyond any balance": OverdraftLimitSet(
        usd(MAX_MINOR + 1), usd(5), BALANCE, usd(95 + MAX_MINOR + 1 - 5)
    ),
    "no limits in limits": SpendingLimitsSet(BALANCE, AVAILABLE, SpendingLimits(None, None, "UTC")),
    "a limit of nothing": SpendingLimitsSet(BALANCE, AVAILABLE, SpendingLimits(0, None, "UTC")),
    "a limit beyond any balance": SpendingLimitsSet(BALANCE, AVAILABLE, SpendingLimits(None, MAX_MINOR + 1, "UTC")),
    "limits without a time zone": SpendingLimitsSet(BALANCE, AVAILABLE, SpendingLimits(1, None, "")),
    "more spent at once than that day": MoneyWithdrawn(usd(2), "", usd(98), usd(93), Spent(DAY, 1)),
    "more held than spent that day": HoldPlaced("i", usd(2), 9, "", BALANCE, usd(93), Spent(DAY, 1)),
    "a capture that releases less than nothing": HoldCaptured("h", usd(11), usd(-1), usd(0), "", usd(89), usd(94)),
    "a capture that leaves less than nothing": HoldCaptured("h", usd(11), usd(0), usd(-1), "", usd(89), usd(95)),
    "a capture that releases a part": HoldCaptured("h", usd(3), usd(3), usd(4), "", usd(97), usd(98)),
    "a transfer out of a hold that leaves less than nothing": TransferSent(
        "t", "b", usd(11), "", usd(89), AVAILABLE, "h", usd(-1)
    ),
    "a transfer out of a hold that does not say what is left": TransferSent(
        "t", "b", usd(1), "", usd(99), AVAILABLE, "h"
    ),
    "a reversal of no deposit": DepositReversed(0, "e", usd(1), "", usd(99), usd(94)),
    "a reversal of a deposit without its event": DepositReversed(2, "", usd(1), "", usd(99), usd(94)),
    "a reversal of more than there was": DepositReversed(2, "e", usd(96), "", usd(4), usd(-1)),
    "a reversal of more than any balance": DepositReversed(
        2, "e", usd(MAX_MINOR + 101), "", usd(-MAX_MINOR - 1), usd(-MAX_MINOR - 6), allow_overdraw=True
    ),
    "a reversal of nothing": WithdrawalReversed(usd(0), BALANCE, AVAILABLE, 2, "e", ""),
    "a reversal of no withdrawal": WithdrawalReversed(usd(1), usd(101), usd(96), 0, "e", ""),
    "a transfer that takes back one that was not received": TransferSent(
        "t", "b", usd(1), "", usd(99), usd(94), reverses_transfer_id="u"
    ),
    "a transfer that takes back none that was received": TransferSent(
        "t", "b", usd(1), "", usd(99), usd(94), reversed_revision=2
    ),
    "a transfer that takes one back and is spent": TransferSent(
        "t", "b", usd(1), "", usd(99), usd(94), "", None, Spent(DAY, 1), reverses_transfer_id="u", reversed_revision=2
    ),
    "a transfer that takes one back out of a hold": TransferSent(
        "t", "b", usd(1), "", usd(99), AVAILABLE, "h", usd(9), reverses_transfer_id="u", reversed_revision=2
    ),
    "a transfer that may overdraw and takes none back": TransferSent(
        "t", "b", usd(1), "", usd(99), usd(94), allow_overdraw=True
    ),
    "a transfer out of no hold that leaves some": TransferSent("t", "b", usd(1), "", usd(99), usd(94), "", usd(9)),
}
DOES_NOT_FIT: dict[str, AccountEvent] = {
    "a capture of a hold that is not open": HoldCaptured("i", usd(1), usd(0), usd(9), "", usd(99), AVAILABLE),
    "a release of a hold that is not open": HoldReleased("i", usd(10), BALANCE, usd(105), ""),
    "an expiry of a hold that is not open": HoldExpired("i", usd(10), BALANCE, usd(105)),
    "a capture of more than there was": HoldCaptured("h", usd(11), usd(0), usd(0), "", usd(89), AVAILABLE),
    "a capture that leaves more than there was": HoldCaptured("h", usd(1), usd(0), usd(10), "", usd(99), AVAILABLE),
    "a release of more than was held": HoldReleased("h", usd(11), BALANCE, usd(106), ""),
    "an expiry of less than was held": HoldExpired("h", usd(9), BALANCE, usd(104)),
    "a hold placed twice": HoldPlaced("h", usd(1), 9, "", BALANCE, usd(94)),
    "a transfer out of a hold that is not open": TransferSent("t", "b", usd(1), "", usd(99), AVAILABLE, "i", usd(9)),
    "a transfer of more than was held": TransferSent("t", "b", usd(11), "", usd(89), AVAILABLE, "h", usd(0)),
    "another overdraft limit than there was": OverdraftLimitSet(usd(6), usd(4), BALANCE, usd(97)),
    "a second reversal": DepositReversed(3, "e", usd(1), "", usd(99), usd(94)),
    "a reversal of itself": DepositReversed(7, "e", usd(1), "", usd(99), usd(94)),
    "a reversal of what comes after it": WithdrawalReversed(usd(1), usd(101), usd(96), 8, "e", ""),
    "a transfer that takes one back again": TransferSent(
        "t", "b", usd(1), "", usd(99), usd(94), reverses_transfer_id="u", reversed_revision=3
    ),
    "an end of no freeze": AccountUnfrozen(BALANCE, AVAILABLE),
    "a closing with an open hold": AccountClosed(usd(0), usd(0), "", 1),
}
PAID_IN = MoneyDeposited(usd(1), "", usd(101), usd(96))
PAID_OUT = MoneyWithdrawn(usd(1), "", usd(99), usd(94))
RECEIVED = TransferReceived(usd(1), usd(101), usd(96), "t", "b", "")
RETURNED = TransferReturned(usd(1), usd(101), usd(96), "t", "b", "ACCOUNT_NOT_ACTIVE")
REFUSED = TransferRefused(BALANCE, AVAILABLE, "t", "b", usd(1), "ACCOUNT_NOT_ACTIVE")
CAPTURED = HoldCaptured("h", usd(1), usd(0), usd(9), "", usd(99), AVAILABLE)
PLACED = HoldPlaced("i", usd(1), 9, "", BALANCE, usd(94))
RELEASED = HoldReleased("h", usd(10), BALANCE, usd(105), "")
TAKEN_BACK = DepositReversed(2, "e", usd(1), "", usd(99), usd(94))
PAID_BACK = WithdrawalReversed(usd(1), usd(101), usd(96), 2, "e", "")
S = AccountState
NOT_IN: list[tuple[S, AccountEvent]] = [
    *((state, event) for state in (S.CREDITS_FROZEN, S.FROZEN, S.CLOSED) for event in (PAID_IN, RECEIVED, PAID_BACK)),
    *(
        (state, event)
        for state in (S.DEBITS_FROZEN, S.FROZEN, S.CLOSED)
        for event in (PAID_OUT, CAPTURED, PLACED, TAKEN_BACK)
    ),
    *((S.CLOSED, event) for event in (RETURNED, RELEASED, AccountFrozen(BALANCE, AVAILABLE, S.FROZEN, "x"))),
]
IN: list[tuple[S, AccountEvent]] = [
    (S.CLOSED, REFUSED), (S.FROZEN, RETURNED), (S.FROZEN, RELEASED), (S.FROZEN, REFUSED), (S.DEBITS_FROZEN, PAID_IN),
    (S.CREDITS_FROZEN, TAKEN_BACK), (S.DEBITS_FROZEN, PAID_BACK), (S.CREDITS_FROZEN, CAPTURED),
    (S.FROZEN, AccountUnfrozen(BALANCE, AVAILABLE)),
]  # fmt: skip


def in_state(state: AccountState) -> Account:
    return replace(HELD, controls=replace(HELD.controls, state=state))


@pytest.mark.parametrize("what", SHOWS_IT)
def test_an_event_that_contradicts_itself_is_not_believed(what: str) -> None:
    before = Funds(BALANCE, AVAILABLE)
    check_follows(before, PAID_IN)
    with pytest.raises(DoesNotFollow):
        check_follows(before, SHOWS_IT[what])


@pytest.mark.parametrize("what", DOES_NOT_FIT)
def test_an_event_that_does_not_fit_the_account_is_not_folded(what: str) -> None:
    with pytest.raises(DoesNotFollow):
        apply(HELD, DOES_NOT_FIT[what], 7)


@pytest.mark.parametrize(("state", "event"), NOT_IN)
def test_nothing_happens_to_an_account_that_its_state_forbids(state: AccountState, event: AccountEvent) -> None:
    apply(HELD, event, 7)
    with pytest.raises(DoesNotFollow, match=state.value):
        apply(in_state(state), event, 7)


@pytest.mark.parametrize(("state", "event"), IN)
def test_an_event_that_a_state_allows_is_folded(state: AccountState, event: AccountEvent) -> None:
    assert apply(in_state(state), event, 7).balance == event.balance_after

"""Whether an account's event is one that the bank can have written after the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    DepositReversed,
    Funds,
    HoldCaptured,
    HoldPlaced,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferRefused,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import FREEZES
from openbank.domain.errors import DoesNotFollow
from openbank.domain.money import MAX_MINOR


def check_follows(before: Funds | None, event: AccountEvent) -> Funds:
    """What `event` leaves, if it can come right after an event that left `before`, or be an account's first (None).

    The bank writes no other events, so one that does not follow was not written by it, or is not what it wrote. Raises
    DoesNotFollow. What a single event cannot show, such as whether a hold was open, the fold checks.
    """
    after = Funds(event.balance_after, event.available_after)
    if isinstance(event, AccountOpened):
        if before is not None:
            raise DoesNotFollow("it opens an account that is open")
        if not (event.owner_id and event.account_number and event.initial_deposit.currency.code):
            raise DoesNotFollow("it opens an account without an owner, a number or a currency")
    else:
        _check_funds(before, event, after)
        amount = getattr(event, "amount", None)
        if amount is not None:
            # One that is refused may be in any currency.
            if amount.currency != after.balance.currency and not isinstance(event, TransferRefused):
                raise DoesNotFollow("it is in another currency than the account")
            if amount.minor <= 0:
                raise DoesNotFollow("it moves nothing, or less")
    if not -MAX_MINOR <= after.balance.minor <= MAX_MINOR:
        raise DoesNotFollow("the balance that it states is one that no account can have")
    check = _STATED.get(type(event))
    if check and not check(event):
        raise DoesNotFollow("it states what the bank cannot have decided")
    if event.spends and after.available.minor < 0:
        raise DoesNotFollow("it spends more than there was")
    return after


def _check_funds(before: Funds | None, event: AccountEvent, after: Funds) -> None:
    """Whether the balances that an event states are those before it and what it changes."""
    if before is None:
        raise DoesNotFollow("it comes before the account was opened")
    if not after.balance.currency == after.available.currency == before.balance.currency:
        raise DoesNotFollow("it is in another currency than the account")
    if after.balance.minor != before.balance.minor + event.moved:
        raise DoesNotFollow("the balance that it states is not the balance before it and its amount")
    if after.available.minor != before.available.minor + event.freed:
        raise DoesNotFollow("the available balance that it states is not the one before it and its amount")


def _spent(event: MoneyWithdrawn | HoldPlaced | TransferSent) -> bool:
    return event.spent is None or event.amount.minor <= event.spent.minor <= MAX_MINOR


def _limits(event: SpendingLimitsSet) -> bool:
    limits = event.limits
    if limits is None:
        return True
    some = [limit for limit in (limits.per_transaction, limits.per_day) if limit is not None]
    return bool(some and limits.time_zone) and all(0 < limit <= MAX_MINOR for limit in some)


def _captured(event: HoldCaptured) -> bool:
    """All that is not captured is released, or none of it."""
    released, remaining = event.released.minor, event.remaining_after.minor
    return released >= 0 and remaining >= 0 and not (released and remaining)


def _sent(event: TransferSent) -> bool:
    """Out of a hold, or spent, or as a reversal."""
    remaining = event.hold_remaining_after
    if event.reverses_transfer_id or event.reversed_revision:
        named = bool(event.reverses_transfer_id) and event.reversed_revision > 0
        return named and not event.hold_id and remaining is None and event.spent is None
    if event.allow_overdraw:
        return False
    if remaining is None:
        return not event.hold_id and _spent(event)
    return bool(event.hold_id) and remaining.minor >= 0 and event.spent is None


def _names_another(event: DepositReversed | WithdrawalReversed) -> bool:
    return event.reversed_revision > 0 and bool(event.reversed_event_id)


_STATED: dict[type, Callable[[Any], bool]] = {
    AccountFrozen: lambda event: event.state_after in FREEZES,
    AccountClosed: lambda event: event.balance_after.minor == 0,
    OverdraftLimitSet: lambda event: 0 <= event.limit.minor <= MAX_MINOR,
    SpendingLimitsSet: _limits,
    MoneyWithdrawn: _spent,
    HoldPlaced: _spent,
    HoldCaptured: _captured,
    TransferSent: _sent,
    DepositReversed: _names_another,
    WithdrawalReversed: _names_another,
}
"""Whether what an event states beside its balances can be."""

"""Entries of statements: what moves an account's posted balance."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    WithdrawalReversed,
)
from openbank.domain.hold_events import HoldCaptured, HoldExpired, HoldPlaced, HoldReleased
from openbank.domain.money import Money
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.transfer_events import TransferReceived, TransferRefused, TransferReturned, TransferSent


class StatementEntry(NamedTuple):
    """What an event is in a statement. Ids are empty where there are none."""

    amount: Money
    """Above zero where the balance rises, below zero where it falls."""
    description: str = ""
    transfer_id: str = ""
    counterparty_account_id: str = ""
    hold_id: str = ""
    tags: Tags = NO_TAGS


def entry_of(event: AccountEvent) -> StatementEntry | None:
    """None for an event that leaves the posted balance as it is."""
    if not event.moved:
        return None
    amount = Money(event.balance_after.currency, event.moved)
    match event:
        case AccountOpened():
            return StatementEntry(amount)
        case MoneyDeposited() | MoneyWithdrawn():
            return StatementEntry(amount, event.description, tags=event.tags)
        case HoldCaptured():
            return StatementEntry(amount, event.description, hold_id=event.hold_id, tags=event.tags)
        case TransferSent():
            ids = event.transfer_id, event.destination_account_id, event.hold_id
            return StatementEntry(amount, event.description, *ids, event.tags)
        case TransferReceived():
            return StatementEntry(amount, event.description, event.transfer_id, event.source_account_id)
        case TransferReturned():
            return StatementEntry(amount, "", event.transfer_id, event.destination_account_id)
        case DepositReversed() | WithdrawalReversed():
            return StatementEntry(amount, event.description)
        case (
            AccountFrozen()
            | AccountUnfrozen()
            | AccountClosed()
            | OverdraftLimitSet()
            | SpendingLimitsSet()
            | HoldPlaced()
            | HoldReleased()
            | HoldExpired()
            | TransferRefused()
        ):
            raise AssertionError("these move no balance")
        case _:
            assert_never(event)

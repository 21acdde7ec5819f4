"""Entries of statements: what moves an account's posted balance."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
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
)
from openbank.domain.money import Money


class Entry(NamedTuple):
    """What an event is in a statement. Ids are empty where there are none."""

    amount: Money
    """Above zero where the balance rises, below zero where it falls."""
    description: str = ""
    transfer_id: str = ""
    counterparty_account_id: str = ""
    hold_id: str = ""


def entry_of(event: AccountEvent) -> Entry | None:
    """None for an event that leaves the posted balance as it is."""
    if not event.moved:
        return None
    amount = Money(event.balance_after.currency, event.moved)
    match event:
        case AccountOpened():
            return Entry(amount)
        case MoneyDeposited() | MoneyWithdrawn():
            return Entry(amount, event.description)
        case HoldCaptured():
            return Entry(amount, event.description, hold_id=event.hold_id)
        case TransferSent():
            return Entry(amount, event.description, event.transfer_id, event.destination_account_id, event.hold_id)
        case TransferReceived():
            return Entry(amount, event.description, event.transfer_id, event.source_account_id)
        case TransferReturned():
            return Entry(amount, "", event.transfer_id, event.destination_account_id)
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

"""Transfers: money leaves one account, and arrives in another or comes back.

The destination's stream is the only commit point. It records that the money was received or that it was refused, and
the source gets its money back because a recorded refusal exists, never because of a timeout.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from openbank.domain.account import Account, debitable, there
from openbank.domain.account_events import TransferReceived, TransferRefused, TransferReturned, TransferSent
from openbank.domain.amounts import currency_mismatch
from openbank.domain.errors import (
    AccountNotFound,
    DestinationRefuses,
    InvalidFields,
)
from openbank.domain.holds import taken
from openbank.domain.limits import spend
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.movements import credited, spendable
from openbank.domain.tags import NO_TAGS, Tags

NOT_ACTIVE = "ACCOUNT_NOT_ACTIVE"
OTHER_CURRENCY = "CURRENCY_MISMATCH"
TOO_MUCH = "BALANCE_LIMIT_EXCEEDED"


class TransferState(IntEnum):
    """Where the money is. A transfer takes only states with ever greater numbers, so the greatest that was recorded is
    the one it is in, in whatever order its events are read."""

    IN_TRANSIT = 1
    COMPLETED = 2
    RETURNING = 3
    RETURNED = 4


UNSETTLED = (TransferState.IN_TRANSIT, TransferState.RETURNING)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as its events tell it. Times are in microseconds since 1970 UTC."""

    transfer_id: str
    source_account_id: str
    destination_account_id: str
    amount: Money
    description: str
    hold_id: str
    state: TransferState
    refusal: str
    """Why the destination refused it, as a published reason without its prefix; empty unless it did."""
    create_time: int
    update_time: int
    sent_revision: int
    received_revision: int
    """The revision of the destination's event, received or refused; 0 without one."""
    tags: Tags = NO_TAGS
    """The payer's."""
    reverses_transfer_id: str = ""
    reversed_by_transfer_id: str = ""
    """Only views know it."""


@dataclass(frozen=True, slots=True)
class SendTransfer:
    transfer_id: str
    source_account_id: str
    destination_account_id: str
    amount: Money
    description: str
    hold_id: str = ""
    """The source's hold that the money is taken out of; empty takes it out of the available balance."""
    tags: Tags = NO_TAGS


def send(account: Account | None, destination: Account | None, command: SendTransfer, now: int) -> TransferSent:
    """`destination` is as it was a moment ago: it may refuse nevertheless. `now` is in microseconds since 1970 UTC.

    The source's refusals come first. Raises AccountNotFound, AccountNotActive, InvalidFields, HoldNotFound,
    HoldNotOpen, CaptureExceedsHold, SpendingLimitExceeded, InsufficientFunds, DestinationRefuses.
    """
    sent = _out_of_hold(account, command) if command.hold_id else _out_of_available(account, command, now)
    return arriving(sent, destination)


def arriving(sent: TransferSent, destination: Account | None) -> TransferSent:
    """What is about to be sent, if the destination takes it.

    Raises AccountNotFound, InvalidFields, DestinationRefuses.
    """
    if destination is None:
        raise AccountNotFound(sent.destination_account_id)
    if destination.currency != sent.amount.currency:
        raise InvalidFields([currency_mismatch("amount.currency_code", destination.currency, sent.amount.currency)])
    if reason := refusal(destination, sent.amount):
        raise DestinationRefuses(destination.account_id, reason)
    return sent


def receive(account: Account | None, sent: TransferSent, source_account_id: str) -> TransferReceived | TransferRefused:
    """The outcome of a transfer: total, so that every transfer that was sent has one.

    Raises AccountNotFound for an account that was never opened, which `send` has ruled out.
    """
    account = there(account, sent.destination_account_id)
    if reason := refusal(account, sent.amount):
        return TransferRefused(
            account.balance, account.available, sent.transfer_id, source_account_id, sent.amount, reason
        )
    return TransferReceived(
        sent.amount,
        account.balance.plus(sent.amount),
        account.available.plus(sent.amount),
        sent.transfer_id,
        source_account_id,
        sent.description,
    )


def take_back(account: Account | None, sent: TransferSent, reason: str, source_account_id: str) -> TransferReturned:
    """What was sent and refused comes back, in whatever state the account is.

    Raises BalanceLimitExceeded while there is no room for it.
    """
    account = there(account, source_account_id)
    return TransferReturned(
        sent.amount,
        credited(account, sent.amount),
        account.available.plus(sent.amount),
        sent.transfer_id,
        sent.destination_account_id,
        reason,
    )


def refusal(account: Account, amount: Money) -> str:
    """Why the account does not take `amount`, as a published reason without its prefix; empty where it does."""
    if not account.state.takes_credits:
        return NOT_ACTIVE
    if account.currency != amount.currency:
        return OTHER_CURRENCY
    if account.balance.minor + amount.minor > MAX_MINOR:
        return TOO_MUCH
    return ""


def _out_of_available(account: Account | None, command: SendTransfer, now: int) -> TransferSent:
    account, amount = spendable(account, command.source_account_id, command.amount)
    spent = spend(account, amount, now)
    return TransferSent(
        command.transfer_id,
        command.destination_account_id,
        amount,
        command.description,
        account.balance.minus(amount),
        account.available.minus(amount),
        spent=spent,
        tags=command.tags,
    )


def _out_of_hold(account: Account | None, command: SendTransfer) -> TransferSent:
    """A hold was counted when it was placed, so that its capture spends nothing again."""
    account = debitable(account, command.source_account_id)
    amount, remaining = taken(account, command.hold_id, command.amount)
    return TransferSent(
        command.transfer_id,
        command.destination_account_id,
        amount,
        command.description,
        account.balance.minus(amount),
        account.available,
        command.hold_id,
        remaining,
        tags=command.tags,
    )

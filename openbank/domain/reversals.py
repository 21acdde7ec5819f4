"""Reversals: all of a movement is taken back by one of the same amount the other way, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from openbank.domain.account import Account, creditable, debitable, there
from openbank.domain.account_events import (
    AccountOpened,
    DepositReversed,
    Funds,
    HoldCaptured,
    MoneyDeposited,
    MoneyWithdrawn,
    TransferReceived,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.errors import BalanceLimitExceeded, InsufficientFunds
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.movements import credited
from openbank.domain.reversal_errors import AlreadyReversed, MovementNotFound, NotReversible
from openbank.domain.transfers import TransferState, arriving


@dataclass(frozen=True, slots=True)
class ReverseMovement:
    account_id: str
    revision: int
    description: str
    allow_overdraw: bool = False


@dataclass(frozen=True, slots=True)
class ReverseTransfer:
    transfer_id: str
    description: str
    allow_overdraw: bool = False


class Original(NamedTuple):
    """An account's event that is to be reversed, as the log has it."""

    event: object
    """None for an event that is not the bank's."""
    event_id: str


class SeenByViews(NamedTuple):
    """What the views know of a movement's reversal."""

    through: int = 0
    """The account's revision that they have seen."""
    reversed_by: int = 0
    """The revision of the reversal; 0 without one."""


NOTHING_SEEN = SeenByViews()


class ReversalForgotten(Exception):
    """The movement is older than the reversals that the account remembers: somebody must look whether it was reversed.

    Not a refusal: the command is decided again with a later `SeenByViews`.
    """


class SendBack(NamedTuple):
    """A completed transfer to take back, as its payee's stream has it, and the transfer that does so."""

    transfer_id: str
    """The id of the reversal."""
    reverses_transfer_id: str
    payee_account_id: str
    payer_account_id: str
    amount: Money
    state: TransferState
    is_reversal: bool
    """Whether the transfer to take back is a reversal itself."""
    received_revision: int
    """The payee's revision at which it was received."""
    description: str
    allow_overdraw: bool


def reverse(
    account: Account | None, command: ReverseMovement, movement: Original | None, looked: SeenByViews
) -> DepositReversed | WithdrawalReversed:
    """Raises AccountNotFound, MovementNotFound, NotReversible, AccountNotActive, AlreadyReversed, ReversalForgotten,
    InsufficientFunds, BalanceLimitExceeded.
    """
    account = there(account, command.account_id)
    if movement is None:
        raise MovementNotFound(command.account_id, command.revision)
    named = command.revision, movement.event_id
    match movement.event:
        case MoneyDeposited(amount=amount):
            debitable(account, command.account_id)
            _check_movement(account, command, looked)
            funds = _taken_from(account, amount, overdraw=command.allow_overdraw)
            return DepositReversed(*named, amount, command.description, *funds, command.allow_overdraw)
        case MoneyWithdrawn(amount=amount) | HoldCaptured(amount=amount):
            creditable(account, command.account_id)
            _check_movement(account, command, looked)
            funds = Funds(credited(account, amount), account.available.plus(amount))
            return WithdrawalReversed(amount, *funds, *named, command.description)
        case AccountOpened():
            raise _not_reversible(command, "is the opening, and cannot be reversed")
        case DepositReversed() | WithdrawalReversed():
            raise _not_reversible(command, "is a reversal, and cannot be reversed")
        case TransferSent() | TransferReceived() | TransferReturned():
            raise _not_reversible(command, "is part of a transfer: use ReverseTransfer")
        case _:
            raise MovementNotFound(command.account_id, command.revision)


def send_back(
    account: Account | None, destination: Account | None, command: SendBack, looked: SeenByViews
) -> TransferSent:
    """As `transfers.send`, from the payee to the payer. No spending limit counts it: it is not the payee's spending.

    Raises AccountNotFound, NotReversible, AccountNotActive, AlreadyReversed, ReversalForgotten, InsufficientFunds,
    BalanceLimitExceeded, InvalidFields, DestinationRefuses.
    """
    account = there(account, command.payee_account_id)
    if command.is_reversal or command.state is not TransferState.COMPLETED:
        why = "is a reversal" if command.is_reversal else "came back"
        reversed = command.reverses_transfer_id
        raise NotReversible(
            account.account_id, f"the transfer {reversed} {why}, and cannot be reversed", transferId=reversed
        )
    debitable(account, command.payee_account_id)
    if _reversed_by(account, command.received_revision, looked):
        reversed, by = command.reverses_transfer_id, command.transfer_id
        ids = {"transferId": reversed, "reversedByTransferId": by}
        raise AlreadyReversed(account.account_id, f"the transfer {reversed}", f"the transfer {by}", **ids)
    funds = _taken_from(account, command.amount, overdraw=command.allow_overdraw)
    sent = TransferSent(
        command.transfer_id,
        command.payer_account_id,
        command.amount,
        command.description,
        *funds,
        reverses_transfer_id=command.reverses_transfer_id,
        reversed_revision=command.received_revision,
        allow_overdraw=command.allow_overdraw,
    )
    return arriving(sent, destination)


def _check_movement(account: Account, command: ReverseMovement, looked: SeenByViews) -> None:
    by = _reversed_by(account, command.revision, looked)
    if by:
        revisions = {"revision": str(command.revision), "reversedByRevision": str(by)}
        what = f"revision {command.revision} of the account {account.account_id}"
        raise AlreadyReversed(account.account_id, what, f"revision {by}", **revisions)


def _reversed_by(account: Account, revision: int, looked: SeenByViews) -> int:
    """The revision of the movement's reversal; 0 without one. Raises ReversalForgotten.

    All reversals that the account has forgotten are before the revision `reversals.before`. Views that have seen it
    up to there know them.
    """
    reversals = account.controls.reversals
    by = reversals.known.get(revision) or looked.reversed_by
    if not by and revision < reversals.before and looked.through < reversals.before:
        raise ReversalForgotten
    return by


def _taken_from(account: Account, amount: Money, *, overdraw: bool) -> Funds:
    """The account's funds without `amount`. Raises InsufficientFunds, BalanceLimitExceeded."""
    if amount.minor > account.available.minor and not overdraw:
        raise InsufficientFunds(account.account_id, account.balance, account.available, amount)
    balance = account.balance.minus(amount)
    if balance.minor < -MAX_MINOR:
        raise BalanceLimitExceeded(account.account_id, account.balance, amount, -MAX_MINOR)
    return Funds(balance, account.available.minus(amount))


def _not_reversible(command: ReverseMovement, what: str) -> NotReversible:
    movement = f"revision {command.revision} of the account {command.account_id} {what}"
    return NotReversible(command.account_id, movement, revision=str(command.revision))

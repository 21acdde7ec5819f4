"""What happens to accounts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from openbank.aggregates import ids
from openbank.aggregates.waiting import Written
from openbank.commands.claims import Claimable, check_claim, claim, load_claim
from openbank.commands.numbers import check_number, finish, is_ours, reserve
from openbank.commands.on_account import Changing, change, change_by_rule, execute, fingerprinted
from openbank.commands.together import nothing, together
from openbank.commands.write_side import WriteSide
from openbank.domain import limits, movements, states
from openbank.domain.account import Account, open_for_change
from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    OverdraftLimitSet,
    SpendingLimitsSet,
)
from openbank.domain.errors import OwnerNotFound, Refused, RevisionMismatch
from openbank.domain.internal import RequestClaimed
from openbank.domain.limits import SetOverdraftLimit, SetSpendingLimits
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.request import Request
from openbank.domain.states import CloseAccount, FreezeAccount, UnfreezeAccount
from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable


def deposit(bank: WriteSide, command: Deposit, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive, BalanceLimitExceeded."""
    return change_by_rule(bank, command, request)


def withdraw(bank: WriteSide, command: Withdraw, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive, SpendingLimitExceeded, InsufficientFunds."""
    return change_by_rule(bank, command, request)


def freeze_account(bank: WriteSide, command: FreezeAccount, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive."""
    return change(bank, "FreezeAccount", command, request, lambda account, _: states.freeze(account, command))


def unfreeze_account(bank: WriteSide, command: UnfreezeAccount, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive, AccountNotFrozen."""
    return change(bank, "UnfreezeAccount", command, request, lambda account, _: states.unfreeze(account, command))


async def close_account(bank: WriteSide, command: CloseAccount, request: Request) -> Written[Account]:
    """Closes the account at the revision up to which its transfers were counted: one more would move it.

    Raises what `change` raises, AccountNotFound, AccountNotActive, AccountNotEmpty, and what `bank.in_transit` raises.
    """

    def look(account: Account | None) -> Sequence[AccountEvent]:
        open_for_change(account, command.account_id)
        return ()

    request = fingerprinted(request, "CloseAccount", command)
    while True:
        now = await bank.accounts.execute(command.account_id, look, request)
        if now.replayed:
            return now
        in_transit = await bank.in_transit(command.account_id, now.position)
        try:
            return await _close(bank, command, in_transit, request._replace(expected_revision=now.resource.revision))
        except RevisionMismatch:
            if request.expected_revision is not None:
                raise


async def _close(bank: WriteSide, command: CloseAccount, in_transit: int, request: Request) -> Written[Account]:
    def close(account: Account | None, now: int) -> AccountClosed:
        return states.close(account, command, in_transit, now)

    return await execute(bank, command.account_id, close, request)


def set_overdraft_limit(bank: WriteSide, command: SetOverdraftLimit, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive."""

    def decide(account: Account | None, _: int) -> OverdraftLimitSet:
        return limits.set_overdraft_limit(account, command)

    return change(bank, "SetOverdraftLimit", command, request, decide)


def set_spending_limits(bank: WriteSide, command: SetSpendingLimits, request: Request) -> Changing:
    """Raises what `change` raises, AccountNotFound, AccountNotActive."""

    def decide(account: Account | None, _: int) -> SpendingLimitsSet:
        return limits.set_spending_limits(account, command)

    return change(bank, "SetSpendingLimits", command, request, decide)


async def open_account(bank: WriteSide, command: OpenAccount, request: Request) -> Written[Account]:
    """Opens an account, under an id made by the bank where the command gives none.

    Three streams take part, each appended expecting what was seen, in this order: the request's claim, the number's
    reservation, the account. The reservation carries the whole command, so after a crash the same request finishes the
    opening, and so does anyone else who meets the number. Refusals that can be foreseen come before anything is
    written.

    Raises RequestIdReused, OwnerNotFound, AccountAlreadyExists, AccountNumberTaken, InvalidFields.
    """
    known = bool(request.id)
    request = fingerprinted(request, "OpenAccount", command)
    is_made = not (command.account_id or request.violations)
    account_id = command.account_id or ids.aggregate_id(bank.id, "account", request)
    command = replace(command, account_id=account_id)
    if not known:
        # An id of our own, so that the opening can be recognized when another call finishes it. It has no
        # fingerprint, which tells it from a caller's.
        request = request._replace(id=os.urandom(16))
    # What a first look leaves to the appends to find out, a dry run would not find out.
    first = await _first_look(bank, command, request) if is_made and not request.validate_only else _Look()
    if first.replay:
        return first.replay
    claimable = Claimable(0 if known else None, request)
    revision: int | None = 0
    if not first.is_new:
        checked = await _check_opening(bank, command, request, known)
        if isinstance(checked, Written):
            return checked
        claimable, revision = checked
    claimed = RequestClaimed("OpenAccount", claimable.request.hash, account_id, command.account_number)
    request = await claim(bank, claimable, claimed, presume_new=first.is_new)
    reservation, is_first = await reserve(bank, command, request, revision)
    if first.is_new:
        bank.accounts.presume_new(account_id)
    try:
        written = await finish(bank, reservation, validate_only=request.validate_only)
    except StoreUnavailable as error:
        if known or request.validate_only:
            raise
        # The reservation stays: the next call that finds the number opens the account.
        raise OutcomeUnknown(str(error)) from error
    # Another call may have found the number and finished the opening for this call. That does not make it a replay.
    return written._replace(replayed=written.replayed and not is_first)


class _Look(NamedTuple):
    """What the owner and the number say of an opening under an id that the bank has made."""

    is_new: bool = False
    """Whether all is as before a first try. The claim and the account are not read then: their appends expect nothing
    there, and would find out."""
    replay: Written[Account] | None = None


async def _first_look(bank: WriteSide, command: OpenAccount, request: Request) -> _Look:
    owner, reserved = await together(bank.persons.load(command.owner_id), bank.numbers.load(command.account_number))
    try:
        found, current = owner(), reserved()
        if current is None:
            movements.open_account(None, command)
            return _Look(is_new=found is not None)
        if is_ours(current.state, command, request) and request.repeats(current.state.request_hash):
            return _Look(replay=await finish(bank, current.state, validate_only=request.validate_only))
    except Refused:
        # A later check of everything decides which refusal counts.
        pass
    return _Look()


async def _check_opening(
    bank: WriteSide, command: OpenAccount, request: Request, known: bool
) -> Written[Account] | tuple[Claimable, int | None]:
    """The outcome of an opening that was done, or else where its request may be claimed and its number reserved."""
    claimed, opened, owner, reserved = await together(
        load_claim(bank, request) if known else nothing(),
        bank.accounts.rehearse(command.account_id, lambda state: (movements.open_account(state, command),), request),
        bank.persons.load(command.owner_id),
        # An invalid number may be long, and is nobody's: nothing of it is to stay in memory.
        nothing() if request.violations else bank.numbers.load(command.account_number),
    )
    # Their refusals count in this order.
    claimable = await check_claim(bank, request, claimed()) if known else Claimable(None, request)
    replay: Written[Account] | None = opened()
    if replay:
        return replay
    if owner() is None:
        raise OwnerNotFound(command.owner_id)
    return claimable, await check_number(bank, command, claimable.request, reserved())

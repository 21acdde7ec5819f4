"""What all commands on one account have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from openbank.aggregates.deciding import Decide, Steps
from openbank.aggregates.waiting import Written
from openbank.commands.write_side import WriteSide
from openbank.domain import holds, movements
from openbank.domain.account import Account, apply, there
from openbank.domain.account_events import AccountEvent
from openbank.domain.amounts import in_other_decimals
from openbank.domain.clock import Clock
from openbank.domain.holds import OPEN_MAX, CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.movements import Deposit, Withdraw
from openbank.domain.request import Request, fingerprint

EXPIRED_MAX = 200
"""In one append: so that one account's holds do not hold up all other accounts, and the append is not too large."""

Changing = Coroutine[Any, Any, Written[Account]]
"""A command being carried out. Plain functions pass it on: another coroutine would make each deposit slower."""
DecideOne = Callable[[Account | None, int], AccountEvent]
"""From the account (None before its opening) and the time, in microseconds since 1970 UTC, to the command's event."""
DecideSome = Callable[[Account | None, int], Sequence[AccountEvent]]
"""The same, to the events of many commands."""


class Rule(NamedTuple):
    """A command that touches nothing but one account, and may come with others of its kind in one append."""

    rpc: str
    decide: Callable[[Account | None, Any, int], AccountEvent]


RULES: Mapping[type, Rule] = {
    Deposit: Rule("Deposit", lambda account, command, _: movements.deposit(account, command)),
    Withdraw: Rule("Withdraw", movements.withdraw),
    PlaceHold: Rule("PlaceHold", holds.place),
    CaptureHold: Rule("CaptureHold", lambda account, command, _: holds.capture(account, command)),
    ReleaseHold: Rule("ReleaseHold", lambda account, command, _: holds.release(account, command)),
}


def change_by_rule(bank: WriteSide, command: Any, request: Request) -> Changing:
    """As `change`, by the rule of the command's type."""
    rpc, decide = RULES[type(command)]
    request = fingerprinted(request, rpc, command)
    return execute_some(bank, command.account_id, lambda account, now: (decide(account, command, now),), request)


def change(bank: WriteSide, rpc: str, command: Any, request: Request, decide: DecideOne) -> Changing:
    """Carries out `command`, which the RPC `rpc` asks for, on the account that it names.

    Raises what `decide` raises, RequestIdReused, RevisionMismatch, and InvalidFields for the request's violations.
    """
    request = fingerprinted(request, rpc, command)
    return execute(bank, command.account_id, decide, request)


class ManyAreDue(Exception):
    """More holds are due than one append takes beside a command."""


def execute(bank: WriteSide, account_id: str, decide: DecideOne, request: Request) -> Changing:
    """As `Repository.execute`, on the account without the holds whose time has come.

    They end in the same append. Of more than EXPIRED_MAX, as many end before, in appends of their own. A dry run, which
    appends nothing, is decided without all of them.
    """
    return execute_some(bank, account_id, lambda account, now: (decide(account, now),), request)


async def execute_some(
    bank: WriteSide,
    account_id: str,
    decide: DecideSome,
    request: Request,
    steps: Steps[Account] | None = None,
) -> Written[Account]:
    """The same with any number of events. `steps` takes what became of them."""
    deciding = with_expiry(bank.clock, decide, request)
    while True:
        try:
            return await bank.accounts.execute(account_id, deciding, request, steps)
        except ManyAreDue:
            await expire_some(bank, account_id, request.actor)


async def expire_some(bank: WriteSide, account_id: str, actor: str) -> None:
    """Ends EXPIRED_MAX of the holds whose time has come, in an append of their own."""
    await bank.accounts.execute(account_id, expire_only(account_id, bank.clock), Request(actor=actor))


def expire_only(account_id: str, clock: Clock) -> Decide[Account]:
    """Ends the holds whose time has come, EXPIRED_MAX of them at the most, and does nothing else.

    What it returns raises AccountNotFound.
    """

    def decided(account: Account | None) -> Sequence[AccountEvent]:
        return tuple(islice(holds.due(there(account, account_id), clock()), EXPIRED_MAX))

    return decided


def with_expiry(clock: Clock, decide: DecideSome, request: Request) -> Decide[Account]:
    """Ends the holds whose time has come, in the same append, and gives `decide` the account as it is then.

    The log's order decides between a capture and an expiry, so instances whose clocks differ cannot disagree
    afterwards; a hold may end early or late by the difference. What it returns raises ManyAreDue for more than
    EXPIRED_MAX holds, unless the request is a dry run.
    """
    expired_max = OPEN_MAX if request.validate_only else EXPIRED_MAX

    def decided(account: Account | None) -> Sequence[AccountEvent]:
        now = clock()
        if account is None or not account.controls.holds:
            return decide(account, now)
        expired = tuple(islice(holds.due(account, now), expired_max + 1))
        if len(expired) > expired_max:
            raise ManyAreDue
        for event in expired:
            account = apply(account, event)
        return (*expired, *decide(account, now))

    return decided


def fingerprinted(request: Request, rpc: str, command: Any) -> Request:
    """With the fingerprint by which the same request is known again, whatever decimals a currency table has then."""
    if not request.id:
        return request
    return Request(
        request.id,
        request.correlation_id,
        request.expected_revision,
        fingerprint(rpc, command),
        lambda: (fingerprint(rpc, other) for other in in_other_decimals(command)),
        request.violations,
        request.causation_id,
        request.validate_only,
        request.owner,
        request.actor,
    )

"""What all commands on one account have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

from openbank.aggregates.deciding import Decide
from openbank.aggregates.waiting import Written
from openbank.commands.write_side import WriteSide
from openbank.domain import holds
from openbank.domain.account import Account, apply, there
from openbank.domain.account_events import AccountEvent
from openbank.domain.amounts import in_other_decimals
from openbank.domain.clock import Clock
from openbank.domain.holds import OPEN_MAX
from openbank.domain.request import Request, fingerprint

EXPIRED_MAX = 200
"""In one append: so that one account's holds do not hold up all other accounts, and the append is not too large."""

Changing = Coroutine[Any, Any, Written[Account]]
"""A command being carried out. Plain functions pass it on: another coroutine would make each deposit slower."""
DecideOne = Callable[[Account | None, int], AccountEvent]
"""From the account (None before its opening) and the time, in microseconds since 1970 UTC, to the command's event."""


def change(bank: WriteSide, rpc: str, command: Any, request: Request, decide: DecideOne) -> Changing:
    """Carries out `command`, which the RPC `rpc` asks for, on the account that it names.

    Raises what `decide` raises, RequestIdReused, RevisionMismatch, and InvalidFields for the request's violations.
    """
    request = fingerprinted(request, rpc, command)
    return execute(bank, command.account_id, decide, request)


class _ManyAreDue(Exception):
    """More holds are due than one append takes beside a command."""


async def execute(bank: WriteSide, account_id: str, decide: DecideOne, request: Request) -> Written[Account]:
    """As `Repository.execute`, on the account without the holds whose time has come.

    They end in the same append. Of more than EXPIRED_MAX, as many end before, in appends of their own. A dry run, which
    appends nothing, is decided without all of them.
    """
    deciding = with_expiry(bank.clock, decide, OPEN_MAX if request.validate_only else EXPIRED_MAX)
    while True:
        try:
            return await bank.accounts.execute(account_id, deciding, request)
        except _ManyAreDue:
            await bank.accounts.execute(account_id, expire_only(account_id, bank.clock), Request())


def expire_only(account_id: str, clock: Clock) -> Decide[Account]:
    """Ends the holds whose time has come, EXPIRED_MAX of them at the most, and does nothing else.

    What it returns raises AccountNotFound.
    """

    def decided(account: Account | None) -> Sequence[AccountEvent]:
        return tuple(islice(holds.due(there(account, account_id), clock()), EXPIRED_MAX))

    return decided


def with_expiry(clock: Clock, decide: DecideOne, expired_max: int) -> Decide[Account]:
    """Ends the holds whose time has come, in the same append, and gives `decide` the account as it is then.

    The log's order decides between a capture and an expiry, so instances whose clocks differ cannot disagree
    afterwards; a hold may end early or late by the difference. What it returns raises _ManyAreDue for more than
    `expired_max` holds.
    """

    def decided(account: Account | None) -> Sequence[AccountEvent]:
        now = clock()
        if account is None or not account.controls.holds:
            return (decide(account, now),)
        expired = tuple(islice(holds.due(account, now), expired_max + 1))
        if len(expired) > expired_max:
            raise _ManyAreDue
        for event in expired:
            account = apply(account, event)
        return (*expired, decide(account, now))

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
    )

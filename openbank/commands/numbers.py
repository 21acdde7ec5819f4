"""Account numbers: one account each, whatever races and crashes there are.

A number is reserved in a stream of its own before its account is opened. The reservation carries the whole command, so
that any call that finds it can finish it: a crash in between leaves neither a lost number nor a half-open account.
"""

from __future__ import annotations

from contextlib import suppress

from openbank.aggregates.waiting import Written
from openbank.commands.write_side import WriteSide
from openbank.domain import movements
from openbank.domain.account import Account
from openbank.domain.errors import AccountAlreadyExists, AccountNumberTaken, RequestIdReused, RevisionMismatch
from openbank.domain.fields import account_number_key
from openbank.domain.internal import AccountNumberReserved
from openbank.domain.movements import OpenAccount
from openbank.domain.request import Request, RequestKey
from openbank.domain.versioned import Versioned


async def reserve(
    bank: WriteSide, command: OpenAccount, request: Request, revision: int | None
) -> tuple[AccountNumberReserved, bool]:
    """The number's reservation for this command, durable, and whether it was made now, not by an earlier try of the
    same request.

    `revision` is what `check_number` said. A dry run reserves nothing. Raises AccountNumberTaken.
    """
    number = command.account_number
    while True:
        if revision is not None:
            reserved = AccountNumberReserved(
                command, request.id, request.hash, request.correlation_id, bank.clock(), request.actor
            )
            if request.validate_only:
                return reserved, True
            at = Request(correlation_id=request.correlation_id, expected_revision=revision, actor=request.actor)
            with suppress(RevisionMismatch):
                return (await bank.numbers.execute(number, lambda _: (reserved,), at)).resource.state, True  # noqa: B023
        current = await bank.numbers.load(number)
        if current is not None and is_ours(current.state, command, request):
            return current.state, False
        revision = await check_number(bank, command, request, current)


async def check_number(
    bank: WriteSide, command: OpenAccount, request: Request, current: Versioned[AccountNumberReserved] | None
) -> int | None:
    """The revision at which the number may be reserved for this command; None when it has been.

    `current` is the number's last reservation. Another's is finished first: only an account that is open takes a number
    for good. A reservation whose account was opened with another number is void. Raises AccountNumberTaken.
    """
    if current is None:
        return 0
    if is_ours(current.state, command, request):
        return None
    if await took_its_number(bank, current.state, validate_only=request.validate_only):
        raise AccountNumberTaken(command.account_number)
    return current.revision


def is_ours(reserved: AccountNumberReserved, command: OpenAccount, request: Request) -> bool:
    """Whether it is this request that has reserved the number, for the same account."""
    theirs = RequestKey.of(reserved.request_id, reserved.request_hash)
    return theirs == request.key and reserved.command.account_id == command.account_id


async def took_its_number(bank: WriteSide, reserved: AccountNumberReserved, *, validate_only: bool = False) -> bool:
    """Whether a reservation's account has its number, after finishing its opening if need be."""
    try:
        opened = (await finish(bank, reserved, validate_only=validate_only)).resource.state
    except (AccountAlreadyExists, RequestIdReused):
        current = await bank.accounts.load(reserved.command.account_id)
        if current is None:
            raise
        opened = current.state
    return account_number_key(opened.account_number) == account_number_key(reserved.command.account_number)


async def finish(bank: WriteSide, reserved: AccountNumberReserved, *, validate_only: bool = False) -> Written[Account]:
    """Opens a reservation's account, or tells how it was opened, or for a dry run how it would be.

    Raises AccountAlreadyExists or RequestIdReused when it was by another request.
    """
    command = reserved.command
    request = Request(
        reserved.request_id,
        reserved.correlation_id,
        hash=reserved.request_hash,
        validate_only=validate_only,
        actor=reserved.actor,
    )
    return await bank.accounts.execute(
        command.account_id, lambda state: (movements.open_account(state, command),), request
    )

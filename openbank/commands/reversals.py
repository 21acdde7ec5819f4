"""Reversals of movements and of transfers, each once.

That something was not reversed before is decided on the one stream that its reversal is appended to. The account
remembers its last reversals. About a movement that is older than these, the views are asked, as of a revision of the
account from which on it remembers: so no reversal is overlooked, also one that another instance makes at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from openbank.aggregates import ids
from openbank.aggregates.history import NotBegun
from openbank.aggregates.waiting import Written
from openbank.commands.on_account import execute, fingerprinted
from openbank.commands.settling import Step, sent_at, settle
from openbank.commands.transfers import Ends, Transferred, send_money, settle_sent
from openbank.commands.write_side import WriteSide
from openbank.domain import reversals
from openbank.domain.account import Account, there
from openbank.domain.account_events import AccountEvent, TransferSent
from openbank.domain.errors import AccountNotFound, TransferNotFound
from openbank.domain.request import Request
from openbank.domain.reversals import (
    NOTHING_SEEN,
    Original,
    ReversalForgotten,
    ReverseMovement,
    ReverseTransfer,
    SeenByViews,
    SendBack,
)
from openbank.domain.transfers import TransferState
from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.port import show_uuid

Outcome = TypeVar("Outcome")


async def reverse_movement(bank: WriteSide, command: ReverseMovement, request: Request) -> Written[Account]:
    """Raises what `change` raises, AccountNotFound, MovementNotFound, NotReversible, AccountNotActive, AlreadyReversed,
    InsufficientFunds, BalanceLimitExceeded, and what `bank.reversal` raises.
    """

    def look(account: Account | None) -> Sequence[AccountEvent]:
        there(account, command.account_id)
        return ()

    request = fingerprinted(request, "ReverseMovement", command)
    now = await bank.accounts.execute(command.account_id, look, request)
    if now.replayed:
        return now
    movement = await _movement(bank, command, now.resource.revision)

    async def attempt(looked: SeenByViews) -> Written[Account]:
        def decide(account: Account | None, _: int) -> AccountEvent:
            return reversals.reverse(account, command, movement, looked)

        return await execute(bank, command.account_id, decide, request)

    return await _once(bank, command.account_id, command.revision, attempt)


async def reverse_transfer(bank: WriteSide, command: ReverseTransfer, request: Request) -> Written[Transferred]:
    """Sends a completed transfer back, by a transfer of its own. What is not settled is settled first.

    Raises what `create_transfer` raises, TransferNotFound, NotReversible, AlreadyReversed, and what `bank.transfer` and
    `bank.reversal` raise.
    """
    request = fingerprinted(request, "ReverseTransfer", command)
    send_back = await _found(bank, command, request)
    ends = Ends(send_back.payee_account_id, send_back.payer_account_id)

    def attempt(looked: SeenByViews) -> Awaitable[Step]:
        def decide(account: Account | None, destination: Account | None, _: int) -> TransferSent:
            return reversals.send_back(account, destination, send_back, looked)

        return send_money(bank, ends, decide, request)

    try:
        sent = await _once(bank, ends.source_account_id, send_back.received_revision, attempt)
    except AccountNotFound as error:
        if error.metadata != AccountNotFound(ends.source_account_id).metadata:
            raise
        # The payee is somebody else's: so is the transfer.
        raise TransferNotFound(command.transfer_id) from None
    return await settle_sent(bank, ends, send_back.transfer_id, sent, request)


async def _movement(bank: WriteSide, command: ReverseMovement, last: int) -> Original | None:
    """None beyond the account's revision `last`, and before its first."""
    if not 0 < command.revision <= last:
        return None
    try:
        event, happened, _ = await bank.accounts.at(command.account_id, command.revision)
    except NotBegun:
        return None
    return Original(happened, show_uuid(event.id))


async def _found(bank: WriteSide, command: ReverseTransfer, request: Request) -> SendBack:
    """The transfer: the views say where it was sent, and the log what was sent and what became of it."""
    try:
        pointer = await bank.transfer(command.transfer_id)
    except TransferNotFound:
        request.check(None)
        raise
    sent = await sent_at(bank, pointer.source_account_id, pointer.sent_revision, command.transfer_id)
    settled = await bank.unfinished.run(settle(bank, sent._replace(validate_only=request.validate_only)))
    if settled.trouble and settled.state is TransferState.IN_TRANSIT:
        raise _before(settled.trouble)
    if settled.state is TransferState.COMPLETED and not settled.recorded:
        # A dry run settles nothing, and without the payee's event there is nothing to reverse. The courier will.
        raise StoreUnavailable(f"the transfer {command.transfer_id} is in transit: try again")
    return SendBack(
        ids.reversal_id(bank.id, command.transfer_id),
        command.transfer_id,
        sent.event.destination_account_id,
        sent.source_account_id,
        sent.event.amount,
        settled.state,
        bool(sent.event.reverses_transfer_id),
        settled.received_revision,
        command.description,
        command.allow_overdraw,
    )


def _before(trouble: Exception) -> Exception:
    """The error for a caller, when the trouble came before the reversal: of that, nothing was written."""
    return StoreUnavailable(str(trouble)) if isinstance(trouble, OutcomeUnknown) else trouble


async def _once(
    bank: WriteSide, account_id: str, revision: int, attempt: Callable[[SeenByViews], Awaitable[Outcome]]
) -> Outcome:
    looked = NOTHING_SEEN
    while True:
        try:
            return await attempt(looked)
        except ReversalForgotten:
            now = await bank.accounts.execute(account_id, lambda _: (), Request())
            looked = SeenByViews(now.resource.revision, await bank.reversal(account_id, revision, now.position))

"""Transfers: money leaves one account, and arrives in another or comes back.

    source: TransferSent  ->  destination: TransferReceived
                          ->  destination: TransferRefused  ->  source: TransferReturned

There is no transaction over two streams. The money is sent here; `commands.settling` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from openbank.aggregates import ids
from openbank.aggregates.waiting import Written
from openbank.commands.numbers import took_its_number
from openbank.commands.on_account import fingerprinted
from openbank.commands.settling import NOT_NOW, SentTransfer, Settled, Step, sent_of, settle, step
from openbank.commands.write_side import WriteSide
from openbank.domain import transfers
from openbank.domain.account import Account
from openbank.domain.account_events import (
    TransferSent,
)
from openbank.domain.errors import (
    AccountNotFound,
    DestinationRefuses,
    Refused,
    TransferCameBack,
    Violation,
)
from openbank.domain.fields import account_number_key
from openbank.domain.money import Money
from openbank.domain.request import Request
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.transfers import SendTransfer, Transfer
from openbank.domain.versioned import Versioned
from openbank.eventstore.streams import number_streams


@dataclass(frozen=True, slots=True)
class CreateTransfer:
    """The destination is named by its id or by its number."""

    source_account_id: str
    destination_account_id: str
    destination_account_number: str
    amount: Money
    description: str
    hold_id: str = ""
    tags: Tags = NO_TAGS


class Transferred(NamedTuple):
    """A transfer as it is, and its source right after the money was sent."""

    transfer: Transfer
    source: Account


class Ends(NamedTuple):
    source_account_id: str
    destination_account_id: str


DecideSent = Callable[[Account | None, Account | None, int], TransferSent]
"""From the source, the destination as it was a moment ago, and the time, in microseconds since 1970 UTC."""


class Look(NamedTuple):
    """The destination as it was a moment ago, or why it could not be read."""

    account: Account | None = None
    trouble: Exception | None = None


async def create_transfer(bank: WriteSide, command: CreateTransfer, request: Request) -> Written[Transferred]:
    """Sends the money and settles the transfer. A replay sends nothing, and settles what is not settled.

    Raises AccountNotFound, AccountNotActive, InvalidFields, HoldNotFound, HoldNotOpen, CaptureExceedsHold,
    SpendingLimitExceeded, InsufficientFunds, DestinationRefuses, RequestIdReused, RevisionMismatch: nothing was sent.
    Raises TransferCameBack for money that was sent and refused.
    """
    bound, look = await _bound(bank, command, request)
    request = fingerprinted(_to_another(command, bound, request), "CreateTransfer", bound)
    transfer_id = ids.aggregate_id(bank.id, f"transfer {bound.source_account_id}", request)
    send = replace(bound, transfer_id=transfer_id)

    def decide(account: Account | None, destination: Account | None, now: int) -> TransferSent:
        return transfers.send(account, destination, send, now)

    ends = Ends(send.source_account_id, send.destination_account_id)
    sent = await send_money(bank, ends, decide, request, look)
    return await settle_sent(bank, ends, transfer_id, sent, request)


async def settle_sent(
    bank: WriteSide, ends: Ends, transfer_id: str, sending: Step, request: Request
) -> Written[Transferred]:
    """Settles the transfer whose money has left the source in this step of the request.

    Raises TransferCameBack for money that was refused.
    """
    written, event, origin = sending
    sent = sent_of(
        ends.source_account_id,
        transfer_id,
        event,
        (written.event_id, written.resource.revision, written.resource.update_time, origin),
    )
    settled = await bank.unfinished.run(settle(bank, sent._replace(validate_only=request.validate_only)))
    if settled.refusal:
        raise TransferCameBack(sent.event.transfer_id, sent.event.destination_account_id, settled.refusal)
    account = written.resource
    transferred = Transferred(_transfer(sent, settled), account.state)
    resource = Versioned(transferred, account.revision, account.create_time, account.update_time)
    last = max(written.position, settled.position or written.position, key=lambda at: at.position)
    return Written(resource, written.event_id, written.record_time, last, written.replayed)


async def _bound(bank: WriteSide, command: CreateTransfer, request: Request) -> tuple[SendTransfer, Look | None]:
    """The command with its destination's id, so that a replay means the same account.

    An unknown number is a look that found nothing: refusals that are due to the source come first.
    """
    destination, look = command.destination_account_id, None
    if command.destination_account_number:
        number, validate_only = command.destination_account_number, request.validate_only
        destination, look = await _account_of(bank, number, validate_only=validate_only)
    accounts = command.source_account_id, destination
    return SendTransfer("", *accounts, command.amount, command.description, command.hold_id, command.tags), look


def _to_another(command: CreateTransfer, bound: SendTransfer, request: Request) -> Request:
    """Refuses the number of the source itself. To a caller who does not own the source, that would say whose number it
    is, so it is one of the request's violations, which are checked after the owner."""
    if bound.destination_account_id != bound.source_account_id:
        return request
    field = "destination_account_number" if command.destination_account_number else "destination_account_id"
    same = Violation(field, "SAME_ACCOUNT", "must be another account than the source")
    others = request.violations

    def violations(source: Account | None) -> Sequence[Violation]:
        return [*(others(source) if others else ()), *([same] if source else ())]

    return request._replace(violations=violations)


async def _account_of(bank: WriteSide, number: str, *, validate_only: bool) -> tuple[str, Look | None]:
    """The id of the account that has the number, and why it is not to be paid: nobody has it, or it cannot be read.

    Of accounts that differ by hyphens only, which earlier versions opened, it is the one that has them in the same
    places, as for reads.
    """
    nobody = Look(trouble=AccountNotFound(account_number=number))
    stream, stream_with_hyphens = number_streams(number)
    reserved = await bank.old_numbers.load(stream_with_hyphens) if stream_with_hyphens != stream else None
    reserved = reserved or await bank.numbers.load(number)
    if reserved is None:
        return "", nobody
    account_id = reserved.state.command.account_id
    try:
        opened = bank.accounts.glance(account_id)
        is_known = opened and account_number_key(opened.state.account_number) == account_number_key(number)
        has_it = is_known or await took_its_number(bank, reserved.state, validate_only=validate_only)
    except NOT_NOW as error:
        return account_id, Look(trouble=error)
    return (account_id, None) if has_it else ("", nobody)


async def send_money(
    bank: WriteSide, ends: Ends, decide_sent: DecideSent, request: Request, look: Look | None = None
) -> Step:
    """Takes the money out of the source, or finds that it was taken.

    Without a `look`, the destination is looked at in memory where it is there: that it takes the money, its own stream
    decides later. Only a fresh look refuses. A dry run, which leaves nothing to decide later, looks afresh.
    """

    def decide(account: Account | None, now: int) -> TransferSent:
        try:
            return decide_sent(account, seen.account, now)
        except AccountNotFound:
            if account is not None and seen.trouble:
                raise seen.trouble from None
            raise

    remembered = look or (None if request.validate_only else _remembered(bank, ends.destination_account_id))
    seen = remembered or await _fresh(bank, ends.destination_account_id)
    try:
        return await step(bank, ends.source_account_id, decide, request)
    except DestinationRefuses:
        if remembered is None:
            raise
        seen = await _fresh(bank, ends.destination_account_id)
    return await step(bank, ends.source_account_id, decide, request)


def _remembered(bank: WriteSide, account_id: str) -> Look | None:
    try:
        found = bank.accounts.glance(account_id)
    except Refused as error:
        return Look(trouble=error)
    return Look(found.state) if found else None


async def _fresh(bank: WriteSide, account_id: str) -> Look:
    """What it cannot read is no refusal of a request whose money was sent: that is found first."""
    try:
        found = await bank.accounts.load(account_id)
    except NOT_NOW as error:
        return Look(trouble=error)
    return Look(found.state if found else None)


def _transfer(sent: SentTransfer, settled: Settled) -> Transfer:
    event = sent.event
    return Transfer(
        event.transfer_id,
        sent.source_account_id,
        event.destination_account_id,
        event.amount,
        event.description,
        event.hold_id,
        settled.state,
        settled.refusal,
        sent.record_time,
        max(sent.record_time, settled.update_time),
        sent.revision,
        settled.received_revision,
        event.tags,
        event.reverses_transfer_id,
    )

"""Settling a transfer that was sent: the destination receives it, or refuses it and it comes back.

Each step is one append under a request id that is derived from the transfer, so each step is recorded once, by any
number of drivers. Drivers are the call, the courier, and any retry of the call; two at once do no harm.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from openbank.aggregates.waiting import Written
from openbank.commands.on_account import DecideOne, execute
from openbank.commands.write_side import WriteSide
from openbank.domain import transfers
from openbank.domain.account import Account
from openbank.domain.account_events import (
    AccountEvent,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
)
from openbank.domain.errors import Refused, TransferNotFound
from openbank.domain.request import Request
from openbank.domain.transfers import TransferState
from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.eventstore.port import LogPosition, show_uuid

NOT_NOW = (OutcomeUnknown, Refused, StoreDamaged, StoreUnavailable)
"""The errors of a step that cannot be taken now. The next driver of the transfer takes it later."""


class Origin(NamedTuple):
    """The request that began a transfer, which all its events name."""

    correlation_id: str
    actor: str


class SentTransfer(NamedTuple):
    """The event by which the money has left the source, as the log has it."""

    source_account_id: str
    event: TransferSent
    event_id: bytes
    revision: int
    record_time: int
    """In microseconds since 1970 UTC."""
    origin: Origin
    validate_only: bool = False
    """Whether this is a dry run, and no money has left."""


class Settled(NamedTuple):
    """How far a transfer is. `update_time` is that of its last event."""

    state: TransferState
    update_time: int
    position: LogPosition | None = None
    """The place of that event; None if nothing was recorded after the money was sent."""
    received_revision: int = 0
    refusal: str = ""
    trouble: Exception | None = None
    """Why it is not settled; None for one that is."""
    recorded: bool = True
    """Whether the log has it; False for what only a dry run says."""


class Step(NamedTuple):
    """A step of a transfer, as an account's stream has it."""

    written: Written[Account]
    event: AccountEvent
    origin: Origin


async def settle(bank: WriteSide, sent: SentTransfer) -> Settled:
    """Has the destination receive or refuse the money, and brings it back if it was refused.

    It may be called at any time, any number of times at once. What is recorded already stays the outcome. Of a
    dry run it records nothing, and says how far the transfer would be.
    """
    try:
        received, outcome, _ = await _receive(bank, sent)
    except NOT_NOW as error:
        return Settled(TransferState.IN_TRANSIT, sent.record_time, trouble=error)
    resource = received.resource
    last = Settled(
        TransferState.COMPLETED,
        resource.update_time,
        received.position,
        resource.revision,
        recorded=bool(received.event_id),
    )
    if not isinstance(outcome, TransferRefused):
        return last
    last = last._replace(state=TransferState.RETURNING, refusal=outcome.reason)
    try:
        back, _, _ = await _take_back(bank, sent, outcome.reason, received.event_id)
    except NOT_NOW as error:
        return last._replace(trouble=error)
    return last._replace(state=TransferState.RETURNED, update_time=back.resource.update_time, position=back.position)


async def sent_at(bank: WriteSide, account_id: str, revision: int, transfer_id: str) -> SentTransfer:
    """The transfer's first event, from the log. Raises TransferNotFound where the account's event is another one."""
    event, happened, _ = await bank.accounts.at(account_id, revision)
    metadata = event.metadata
    return sent_of(
        account_id,
        transfer_id,
        happened,
        (event.id, revision, metadata.record_time, Origin(metadata.correlation_id, metadata.actor)),
    )


def sent_of(account_id: str, transfer_id: str, event: object, recorded: tuple[bytes, int, int, Origin]) -> SentTransfer:
    if not isinstance(event, TransferSent) or event.transfer_id != transfer_id:
        raise TransferNotFound(transfer_id)
    return SentTransfer(account_id, event, *recorded)


async def _receive(bank: WriteSide, sent: SentTransfer) -> Step:
    def decide(account: Account | None, _: int) -> TransferReceived | TransferRefused:
        return transfers.receive(account, sent.event, sent.source_account_id)

    return await _own_step(bank, sent.event.destination_account_id, decide, _request("receive", sent, sent.event_id))


async def _take_back(bank: WriteSide, sent: SentTransfer, reason: str, refused: bytes) -> Step:
    """`refused` is the id of the recorded refusal, without which nothing comes back."""

    def decide(account: Account | None, _: int) -> TransferReturned:
        return transfers.take_back(account, sent.event, reason, sent.source_account_id)

    return await _own_step(bank, sent.source_account_id, decide, _request("take back", sent, refused))


def _request(step: str, sent: SentTransfer, cause: bytes) -> Request:
    """A request of the bank's own: without a fingerprint, so that no caller's can stand in its way."""
    id = hashlib.blake2b(f"{step}\0{sent.event.transfer_id}".encode(), digest_size=16).digest()
    correlation_id, actor = sent.origin
    causation_id = show_uuid(cause)
    return Request(id, correlation_id, causation_id=causation_id, validate_only=sent.validate_only, actor=actor)


async def _own_step(bank: WriteSide, account_id: str, decide: DecideOne, request: Request) -> Step:
    """Taken again where its outcome is unknown: if it was recorded, that is found."""
    try:
        return await step(bank, account_id, decide, request)
    except OutcomeUnknown:
        return await step(bank, account_id, decide, request)


async def step(bank: WriteSide, account_id: str, decide: DecideOne, request: Request) -> Step:
    made: AccountEvent | None = None

    def deciding(account: Account | None, now: int) -> AccountEvent:
        nonlocal made
        made = decide(account, now)
        return made

    written = await execute(bank, account_id, deciding, request)
    if not written.replayed and made is not None:
        return Step(written, made, Origin(request.correlation_id, request.actor))
    event, happened, _ = await bank.accounts.at(account_id, written.resource.revision)
    assert isinstance(happened, AccountEvent)
    return Step(written, happened, Origin(event.metadata.correlation_id, event.metadata.actor))

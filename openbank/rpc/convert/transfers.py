"""Transfers, between protobuf and domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openbank.commands.transfers import CreateTransfer, Transferred
from openbank.common.v1.errors_pb2 import ErrorReason
from openbank.domain import fields as limits
from openbank.domain.fields import Fields
from openbank.domain.request import Request
from openbank.domain.reversals import ReverseTransfer
from openbank.domain.transfers import Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.rpc.call import Call
from openbank.rpc.convert.accounts import fill_account
from openbank.rpc.convert.amounts import read_amount, settle_amount
from openbank.rpc.convert.tags import fill_tags, read_tags
from openbank.rpc.convert.values import fill_money, fill_time, read_enums, read_request_at_revision
from openbank.rpc.errors import REASON
from openbank.transfers.v1 import transfer_pb2
from openbank.transfers.v1.transfers_service_pb2 import (
    CreateTransferRequest,
    CreateTransferResponse,
    ReverseTransferRequest,
    ReverseTransferResponse,
)

STATES = {
    TransferState.IN_TRANSIT: transfer_pb2.TRANSFER_STATE_IN_TRANSIT,
    TransferState.COMPLETED: transfer_pb2.TRANSFER_STATE_COMPLETED,
    TransferState.RETURNING: transfer_pb2.TRANSFER_STATE_RETURNING,
    TransferState.RETURNED: transfer_pb2.TRANSFER_STATE_RETURNED,
}
_BY_NUMBER: dict[int, TransferState] = {number: state for state, number in STATES.items()}


def read_create_transfer(message: CreateTransferRequest, call: Call) -> tuple[CreateTransfer, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    source_id = fields.identifier("source_account_id", message.source_account_id)
    destination_id, number = _read_destination(fields, message)
    command = CreateTransfer(
        source_id,
        destination_id,
        number,
        read_amount(fields, message),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
        fields.identifier("hold_id", message.hold_id, required=False),
        read_tags(fields, message),
    )
    if fields.violations:
        request = settle_amount(fields, request, command.amount)
    return command, request


def _read_destination(fields: Fields, message: CreateTransferRequest) -> tuple[str, str]:
    """The id or the number; the other is empty."""
    if message.WhichOneof("destination") == "destination_account_number":
        known = len(fields.violations)
        number = fields.account_number("destination_account_number", message.destination_account_number)
        # Nobody has a number that is none: the request cannot repeat one that was acknowledged.
        fields.readable = fields.readable and len(fields.violations) == known
        return "", number
    account_id = fields.identifier("destination_account_id", message.destination_account_id)
    if account_id and account_id == message.source_account_id:
        fields.unreadable("destination_account_id", "SAME_ACCOUNT", "must be another account than the source")
    return account_id, ""


def read_reverse_transfer(message: ReverseTransferRequest, call: Call) -> tuple[ReverseTransfer, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = ReverseTransfer(
        fields.identifier("transfer_id", message.transfer_id),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
        message.allow_overdraw,
    )
    return command, fields.settle(request)


def read_states(fields: Fields, numbers: Sequence[int]) -> Sequence[TransferState]:
    """In the order of their numbers, each once."""
    return sorted(set(read_enums(fields, "states", numbers, _BY_NUMBER, "state")))


def fill_sent(response: CreateTransferResponse | ReverseTransferResponse, written: Versioned[Transferred]) -> None:
    transfer, source = written.state
    fill_transfer(response.transfer, transfer)
    fill_account(response.account, Versioned(source, *written[1:]))


def fill_transfer(message: Any, transfer: Transfer) -> None:
    message.transfer_id = transfer.transfer_id
    message.source_account_id = transfer.source_account_id
    message.destination_account_id = transfer.destination_account_id
    fill_money(message.amount, transfer.amount)
    message.description = transfer.description
    message.state = STATES[transfer.state]
    if transfer.refusal:
        known = ErrorReason.DESCRIPTOR.values_by_name.get(REASON + transfer.refusal)
        # One that a newer version has added has no number here.
        message.refusal_reason = 0 if known is None else known.number
    fill_time(message.create_time, transfer.create_time)
    fill_time(message.update_time, transfer.update_time)
    message.sent_revision = transfer.sent_revision
    message.received_revision = transfer.received_revision
    message.reverses_transfer_id = transfer.reverses_transfer_id
    message.reversed_by_transfer_id = transfer.reversed_by_transfer_id
    message.hold_id = transfer.hold_id
    fill_tags(message, transfer.tags)

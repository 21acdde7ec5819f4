"""`openbank transfer` and `openbank transfers`: the calls."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.cli.bank import RemoteBank
from openbank.cli.messages import change_of, money, movement_of
from openbank.cli.output.printout import Printout, one
from openbank.transfers.v1 import transfers_service_pb2 as messages
from openbank.transfers.v1.transfer_pb2 import TransferState
from openbank.transfers.v1.transfers_service_pb2_grpc import TransfersServiceStub

COLUMNS = {
    "TRANSFER": "transfer_id",
    "FROM": "source_account_id",
    "TO": "destination_account_id",
    "AMOUNT": "amount",
    "STATE": "state",
    "CREATED": "create_time",
}


def _transfer(bank: RemoteBank, flags: Namespace) -> Printout:
    request = movement_of(
        messages.CreateTransferRequest,
        flags,
        source_account_id=flags.source,
        amount=money(flags.amount, flags.currency),
        hold_id=flags.hold,
    )
    if flags.to_number:
        request.destination_account_number = flags.destination
    else:
        request.destination_account_id = flags.destination
    return one(bank.change(_stub(bank).CreateTransfer, request), "transfer")


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.GetTransferRequest(transfer_id=flags.transfer, consistency_token=flags.consistency_token)
    return one(bank.ask(_stub(bank).GetTransfer, request), "transfer")


def _list(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ListTransfersRequest(
        account_id=flags.account,
        states=[TransferState.Value(f"TRANSFER_STATE_{state.upper()}") for state in flags.state],
        consistency_token=flags.consistency_token,
    )
    method = _stub(bank).ListTransfers
    return bank.listing(method, request, messages.ListTransfersResponse, "transfers", COLUMNS, flags.limit)


def _reverse(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(
        messages.ReverseTransferRequest,
        flags,
        transfer_id=flags.transfer,
        description=flags.description,
        allow_overdraw=flags.allow_overdraw,
    )
    return one(bank.change(_stub(bank).ReverseTransfer, request), "transfer")


def _stub(bank: RemoteBank) -> Any:
    return TransfersServiceStub(bank.channel)


ACTIONS = {"transfer": _transfer, "show": _show, "list": _list, "reverse": _reverse}

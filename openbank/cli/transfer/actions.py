"""`openbank transfer`: the call."""

from __future__ import annotations

from argparse import Namespace

from openbank.cli.bank import RemoteBank
from openbank.cli.messages import money, movement_of
from openbank.cli.output.printout import Printout, one
from openbank.transfers.v1.transfers_service_pb2 import CreateTransferRequest
from openbank.transfers.v1.transfers_service_pb2_grpc import TransfersServiceStub


def _transfer(bank: RemoteBank, flags: Namespace) -> Printout:
    request = movement_of(
        CreateTransferRequest,
        flags,
        source_account_id=flags.source,
        amount=money(flags.amount, flags.currency),
        hold_id=flags.hold,
    )
    if flags.to_number:
        request.destination_account_number = flags.destination
    else:
        request.destination_account_id = flags.destination
    return one(bank.change(TransfersServiceStub(bank.channel).CreateTransfer, request), "transfer")


ACTIONS = {"transfer": _transfer}

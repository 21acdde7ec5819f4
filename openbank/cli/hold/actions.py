"""`openbank hold`: the calls."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.cli.bank import RemoteBank
from openbank.cli.errors import CommandFailed
from openbank.cli.messages import change_of, money, movement_of
from openbank.cli.output.printout import Printout, one
from openbank.holds.v1 import holds_service_pb2 as messages
from openbank.holds.v1.hold_pb2 import HoldState
from openbank.holds.v1.holds_service_pb2_grpc import HoldsServiceStub

COLUMNS = {
    "HOLD": "hold_id",
    "REMAINING": "remaining_amount",
    "STATE": "state",
    "EXPIRES": "expire_time",
    "DESCRIPTION": "description",
}


def _place(bank: RemoteBank, flags: Namespace) -> Printout:
    if flags.ttl is not None and flags.expire_time is not None:
        raise CommandFailed("give --ttl or --expire-time, not both")
    request = movement_of(
        messages.PlaceHoldRequest, flags, account_id=flags.account, amount=money(flags.amount, flags.currency)
    )
    if flags.ttl is not None:
        request.ttl.FromTimedelta(flags.ttl)
    elif flags.expire_time is not None:
        request.expire_time.FromDatetime(flags.expire_time)
    return one(bank.change(_stub(bank).PlaceHold, request), "hold")


def _capture(bank: RemoteBank, flags: Namespace) -> Printout:
    if flags.amount is not None and flags.currency is None:
        raise CommandFailed("give the currency behind the amount")
    amount = None if flags.amount is None else money(flags.amount, flags.currency)
    request = movement_of(
        messages.CaptureHoldRequest,
        flags,
        account_id=flags.account,
        hold_id=flags.hold,
        amount=amount,
        release_remainder=flags.release_remainder,
    )
    return one(bank.change(_stub(bank).CaptureHold, request), "hold")


def _release(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(
        messages.ReleaseHoldRequest,
        flags,
        account_id=flags.account,
        hold_id=flags.hold,
        description=flags.description,
    )
    return one(bank.change(_stub(bank).ReleaseHold, request), "hold")


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.GetHoldRequest(hold_id=flags.hold, consistency_token=flags.consistency_token)
    return one(bank.ask(_stub(bank).GetHold, request), "hold")


def _list(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ListHoldsRequest(
        account_id=flags.account,
        states=[HoldState.Value(f"HOLD_STATE_{state.upper()}") for state in flags.state],
        consistency_token=flags.consistency_token,
    )
    return bank.listing(_stub(bank).ListHolds, request, messages.ListHoldsResponse, "holds", COLUMNS, flags.limit)


def _stub(bank: RemoteBank) -> Any:
    return HoldsServiceStub(bank.channel)


ACTIONS = {"place": _place, "capture": _capture, "release": _release, "show": _show, "list": _list}

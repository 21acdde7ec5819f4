"""The threads that follow a bank: one reads its metrics, one watches accounts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import grpc

from openbank.accounts.v1.account_events_pb2 import AccountEvent
from openbank.accounts.v1.accounts_service_pb2 import GetAccountRequest, WatchAccountEventsRequest
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.cli.connection import Connection
from openbank.cli.output.values import decimal, value_at
from openbank.cli.terminal import shown
from openbank.cli.top import metrics
from openbank.cli.top.state import AccountLine, SharedState
from openbank.client.errors import BankError, bank_error
from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS
from openbank.client.watch_sync import watch_sync
from openbank.common.v1.money_pb2 import Money

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 1.0


def follow_metrics(url: str, shared: SharedState, every_seconds: float, stop: threading.Event) -> None:
    """Until `stop` is set."""
    while not stop.is_set():
        try:
            shared.read(metrics.read(url))
        except metrics.NoMetrics as error:
            shared.failed(str(error))
        stop.wait(every_seconds)


def follow_accounts(bank: Connection, accounts: Sequence[str], shared: SharedState, stop: threading.Event) -> None:
    """Until `stop` is set, or the bank refuses for good."""
    with bank.channel(CHANNEL_OPTIONS) as channel:
        known, token = _read_all(channel, accounts, shared, stop)
        if not known or stop.is_set():
            return
        # After the first read: what an account has done since comes again, and is known by its revision.
        request = WatchAccountEventsRequest(resume_token=token, account_ids=known)

        def interrupted(interruption: Interruption) -> None:
            shared.watching(shown(interruption.why))

        try:
            for response in watch_sync(channel, request, stop, interrupted):
                shared.watching("")
                for event in response.events:
                    shared.saw(event.account_id, _line_of(event, _state_after(event, shared)))
        except grpc.RpcError as error:
            shared.watching(_said(error))


def _state_after(event: AccountEvent, shared: SharedState) -> str:
    match event.WhichOneof("payload"):
        case "account_frozen":
            return value_at(event, "account_frozen.state_after") or ""
        case "account_unfrozen":
            return "ACTIVE"
        case "account_closed":
            return "CLOSED"
    return shared.state.accounts[event.account_id].state


def _read_all(
    channel: grpc.Channel, accounts: Sequence[str], shared: SharedState, stop: threading.Event
) -> tuple[list[str], str]:
    """Those that there are, and the token of the first read. Waits for a bank that does not answer."""
    known, first = [], ""
    for account_id in accounts:
        token = None
        while token is None and not stop.is_set():
            try:
                token = _read(channel, account_id, shared)
                known.append(account_id)
                shared.watching("")
            except BankError as error:
                shared.saw(account_id, AccountLine(trouble=shown(error.reason)))
                break
            except grpc.RpcError as error:
                shared.watching(_said(error))
                stop.wait(PAUSE_SECONDS)
        first = first or token or ""
    return known, first


def _read(channel: grpc.Channel, account_id: str, shared: SharedState) -> str:
    """Returns the token of the answer. Raises BankError, or grpc.RpcError where the bank has not decided."""
    stub: Any = AccountsServiceStub(channel)
    try:
        response = stub.GetAccount(GetAccountRequest(account_id=account_id), timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        decision = bank_error(error)
        if decision is None or decision.code is grpc.StatusCode.UNAVAILABLE:
            raise
        raise decision from error
    shared.saw(account_id, _line_of(response.account, value_at(response.account, "state") or ""))
    return str(response.consistency_token)


def _line_of(account: Any, state: str) -> AccountLine:
    """From an account, or from an event of one, which has the same balances."""
    available = account.available_balance if account.HasField("available_balance") else account.balance
    return AccountLine(_text(account.balance), _text(available), state, account.revision)


def _text(money: Money) -> str:
    return f"{decimal(money)} {shown(money.currency_code)}"


def _said(error: Any) -> str:
    return f"{error.code().name}: {shown(error.details() or '')}"

"""`openbank account`: the calls."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.cli.bank import RemoteBank
from openbank.cli.errors import CommandFailed
from openbank.cli.messages import change_of, money
from openbank.cli.output.printout import Printout, one

COLUMNS = {
    "ACCOUNT": "account_id",
    "NUMBER": "account_number",
    "BALANCE": "balance",
    "AVAILABLE": "available_balance",
    "STATE": "state",
    "OPENED": "create_time",
}
FROZEN = {
    None: account_pb2.ACCOUNT_STATE_FROZEN,
    "debits": account_pb2.ACCOUNT_STATE_DEBITS_FROZEN,
    "credits": account_pb2.ACCOUNT_STATE_CREDITS_FROZEN,
}


def _open(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.OpenAccountRequest(
        request_id=flags.request_id,
        account_id=flags.id,
        owner_id=flags.owner,
        account_number=flags.number,
        currency_code=flags.currency,
    )
    if flags.deposit is not None:
        request.initial_deposit.CopyFrom(money(flags.deposit, flags.currency or "USD"))
    return _change(bank, "OpenAccount", request)


def _deposit(bank: RemoteBank, flags: Namespace) -> Printout:
    return _change(bank, "Deposit", _movement(messages.DepositRequest, flags))


def _withdraw(bank: RemoteBank, flags: Namespace) -> Printout:
    return _change(bank, "Withdraw", _movement(messages.WithdrawRequest, flags))


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    if bool(flags.account) == bool(flags.number):
        raise CommandFailed("give the account's id, or its number with --number")
    stub: Any = AccountsServiceStub(bank.channel)
    token = flags.consistency_token
    if flags.number:
        by_number = messages.GetAccountByNumberRequest(account_number=flags.number, consistency_token=token)
        return one(bank.ask(stub.GetAccountByNumber, by_number), "account")
    by_id = messages.GetAccountRequest(account_id=flags.account, consistency_token=token)
    return one(bank.ask(stub.GetAccount, by_id), "account")


def _list(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ListAccountsByOwnerRequest(owner_id=flags.owner, consistency_token=flags.consistency_token)
    method = AccountsServiceStub(bank.channel).ListAccountsByOwner
    return bank.listing(method, request, messages.ListAccountsByOwnerResponse, "accounts", COLUMNS, flags.limit)


def _freeze(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(messages.FreezeAccountRequest, flags, account_id=flags.account, reason=flags.reason)
    request.state = FROZEN[flags.only]
    return _change(bank, "FreezeAccount", request)


def _unfreeze(bank: RemoteBank, flags: Namespace) -> Printout:
    return _change(bank, "UnfreezeAccount", change_of(messages.UnfreezeAccountRequest, flags, account_id=flags.account))


def _close(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(messages.CloseAccountRequest, flags, account_id=flags.account, reason=flags.reason)
    return _change(bank, "CloseAccount", request)


def _movement(message: Any, flags: Namespace) -> Any:
    amount = money(flags.amount, flags.currency)
    return change_of(message, flags, account_id=flags.account, amount=amount, description=flags.description)


def _change(bank: RemoteBank, method: str, request: Any) -> Printout:
    return one(bank.change(getattr(AccountsServiceStub(bank.channel), method), request), "account")


ACTIONS = {
    "open": _open,
    "deposit": _deposit,
    "withdraw": _withdraw,
    "show": _show,
    "list": _list,
    "freeze": _freeze,
    "unfreeze": _unfreeze,
    "close": _close,
}

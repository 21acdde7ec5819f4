"""`openbank account`: the calls."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.cli.bank import RemoteBank
from openbank.cli.errors import CommandFailed
from openbank.cli.messages import change_of, creation_of, money, movement_of
from openbank.cli.output.printout import Printout, one, whole
from openbank.cli.output.values import decimal

COLUMNS = {
    "ACCOUNT": "account_id",
    "NUMBER": "account_number",
    "BALANCE": "balance",
    "AVAILABLE": "available_balance",
    "STATE": "state",
    "OPENED": "create_time",
}
ENTRIES = {
    "REVISION": "revision",
    "TIME": "record_time",
    "TYPE": "type",
    "AMOUNT": "amount",
    "BALANCE": "balance_after",
    "DESCRIPTION": "description",
}
MOVEMENTS = {"ACCOUNT": "account_id"} | {heading: f"entry.{path}" for heading, path in ENTRIES.items()}
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any bank of this kind."""
FROZEN = {
    None: account_pb2.ACCOUNT_STATE_FROZEN,
    "debits": account_pb2.ACCOUNT_STATE_DEBITS_FROZEN,
    "credits": account_pb2.ACCOUNT_STATE_CREDITS_FROZEN,
}


def _open(bank: RemoteBank, flags: Namespace) -> Printout:
    request = creation_of(
        messages.OpenAccountRequest,
        flags,
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


def _reverse(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(
        messages.ReverseMovementRequest,
        flags,
        account_id=flags.account,
        revision=flags.revision,
        description=flags.description,
        allow_overdraw=flags.allow_overdraw,
    )
    return _change(bank, "ReverseMovement", request)


def _statement(bank: RemoteBank, flags: Namespace) -> Printout:
    if flags.revisions and (flags.start or flags.end):
        raise CommandFailed("give --revisions, or --from and --to")
    request = messages.GetAccountStatementRequest(account_id=flags.account, consistency_token=flags.consistency_token)
    if flags.revisions:
        request.revisions.first_revision, request.revisions.last_revision = flags.revisions
    else:
        request.times.start_time.FromDatetime(flags.start or BEGINNING)
        request.times.end_time.FromDatetime(flags.end or datetime.now(UTC))
    method = AccountsServiceStub(bank.channel).GetAccountStatement
    entries = bank.listing(method, request, messages.GetAccountStatementResponse, "entries", ENTRIES, flags.limit)
    pages = iter(entries.responses)
    first = next(pages)
    return entries._replace(responses=chain([first], pages), words_before=_summary(first))


def _summary(statement: messages.GetAccountStatementResponse) -> Iterator[str]:
    yield f"account {statement.account_number} of {statement.owner_id}"
    for name, amount in (
        ("opening balance", statement.opening_balance),
        ("credits", statement.total_credits),
        ("debits", statement.total_debits),
        ("closing balance", statement.closing_balance),
    ):
        yield f"  {name:<15}  {decimal(amount)} {amount.currency_code}"
    complete = "complete" if statement.complete else "more may come"
    yield f"  {'entries':<15}  {statement.entry_count}, {complete}"
    yield ""


def _balance(bank: RemoteBank, flags: Namespace) -> Printout:
    if (flags.at is None) == (flags.revision is None):
        raise CommandFailed("give --at TIME or --revision REVISION")
    request = messages.GetAccountBalanceRequest(account_id=flags.account, consistency_token=flags.consistency_token)
    if flags.at is not None:
        request.time.FromDatetime(flags.at)
    else:
        request.revision = flags.revision
    return whole(bank.ask(AccountsServiceStub(bank.channel).GetAccountBalance, request))


def _movements(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ListMovementsRequest(
        account_id=flags.account, external_reference=flags.reference, consistency_token=flags.consistency_token
    )
    if flags.label is not None:
        request.label.key, request.label.value = flags.label
    method = AccountsServiceStub(bank.channel).ListMovements
    return bank.listing(method, request, messages.ListMovementsResponse, "movements", MOVEMENTS, flags.limit)


def _movement(message: Any, flags: Namespace) -> Any:
    amount = money(flags.amount, flags.currency)
    return movement_of(message, flags, account_id=flags.account, amount=amount)


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
    "reverse": _reverse,
    "statement": _statement,
    "balance": _balance,
    "movements": _movements,
}

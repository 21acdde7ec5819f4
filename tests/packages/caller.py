"""A few calls, with only openbank-client installed: `python caller.py ADDRESS`."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import pkgutil
import sys
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

import openbank
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.client import CHANNEL_OPTIONS, BankError, call, call_sync, watch, watch_sync
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.money_pb2 import Money
from openbank.persons.v1 import person_pb2 as person
from openbank.persons.v1.persons_service_pb2 import RegisterPersonRequest
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub

JOHN = RegisterPersonRequest(
    first_name="John",
    last_name="Doe",
    gender=person.GENDER_MALE,
    date_of_birth=Date(year=1980, month=5, day=17),
    nationality="US",
    email="john.doe@example.com",
    address=person.Address(street="1 Main Street", city="Springfield", postal_code="12345", country="US"),
)


def usd(units: int) -> Money:
    return Money(currency_code="USD", units=units)


def everything_imports() -> None:
    names = [module.name for module in pkgutil.walk_packages(openbank.__path__, "openbank.")]
    assert len(names) > 30, names
    for name in names:
        importlib.import_module(name)
    assert importlib.util.find_spec("openbank.storage") is None


def refusal(method: Any, request: Any) -> BankError:
    try:
        call_sync(method, request)
    except BankError as error:
        return error
    raise AssertionError("the bank accepted it")


def with_threads(address: str) -> str:
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        owner_id = call_sync(PersonsServiceStub(channel).RegisterPerson, JOHN).person.person_id
        bank = AccountsServiceStub(channel)
        opening = accounts.OpenAccountRequest(owner_id=owner_id, account_number=owner_id[:34], initial_deposit=usd(100))
        account_id: str = call_sync(bank.OpenAccount, opening).account.account_id
        paid = call_sync(bank.Deposit, accounts.DepositRequest(account_id=account_id, amount=usd(25)))
        read = accounts.GetAccountRequest(account_id=account_id, consistency_token=paid.consistency_token)
        assert call_sync(bank.GetAccount, read).account.balance == usd(125)
        refused = refusal(bank.Withdraw, accounts.WithdrawRequest(account_id=account_id, amount=usd(126)))
        assert (refused.reason, refused.metadata["balance"]) == ("INSUFFICIENT_FUNDS", "125.00 USD")
        mistaken = refusal(bank.GetAccount, accounts.GetAccountRequest())
        assert [violation.field for violation in mistaken.violations] == ["account_id"]
        watched = list(watch_sync(channel, watch_of(account_id)))
        assert [event.revision for response in watched for event in response.events] == [1, 2]
        return account_id


async def with_asyncio(address: str, account_id: str) -> None:
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        deposit = accounts.DepositRequest(account_id=account_id, amount=usd(25))
        await call(AccountsServiceStub(channel).Deposit, deposit)
        revisions = [event.revision async for it in watch(channel, watch_of(account_id)) for event in it.events]
        assert revisions == [1, 2, 3]


def watch_of(account_id: str) -> accounts.WatchAccountEventsRequest:
    return accounts.WatchAccountEventsRequest(beginning=Empty(), account_ids=[account_id], stop_when_caught_up=True)


if __name__ == "__main__":
    everything_imports()
    asyncio.run(with_asyncio(sys.argv[1], with_threads(sys.argv[1])))

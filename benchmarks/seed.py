"""Customers with accounts, opened by calls to the bank itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

import grpc

from benchmarks import loop
from benchmarks.messages import PAYMENT, account_id, owner_id
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.common.v1.date_pb2 import Date
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub

OWNERS = 20
ACCOUNTS_EACH = 50
ACCOUNTS = OWNERS * ACCOUNTS_EACH
"""Numbered from 0; those of an owner follow one another."""
_AT_A_TIME = 100


def seed(address: str) -> None:
    loop.run(_seed(address))


async def _seed(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        await _all(register(channel, number) for number in range(OWNERS))
        till = AccountsServiceStub(channel)
        for start in range(0, ACCOUNTS, _AT_A_TIME):
            await _all(till.OpenAccount(_account(number)) for number in range(start, start + _AT_A_TIME))


async def register(channel: grpc.aio.Channel, number: int = 0) -> str:
    """A person; gives the id."""
    answer = await PersonsServiceStub(channel).RegisterPerson(_person(number))
    return answer.person.person_id


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    await asyncio.gather(*calls)


def _person(number: int) -> persons.RegisterPersonRequest:
    return persons.RegisterPersonRequest(
        person_id=owner_id(number),
        first_name="John",
        last_name="Doe",
        nationality="US",
        gender=person_pb2.GENDER_MALE,
        date_of_birth=Date(year=1980, month=5, day=17),
        address=person_pb2.Address(street="1 Main Street", city="Springfield", postal_code="12345", country="US"),
        email="john.doe@example.com",
    )


def _account(number: int) -> accounts.OpenAccountRequest:
    return accounts.OpenAccountRequest(
        account_id=account_id(number),
        owner_id=owner_id(number // ACCOUNTS_EACH),
        account_number=f"{number:012}",
        initial_deposit=PAYMENT,
    )

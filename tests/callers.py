"""What tests call a running bank with: stubs, requests that are right until something is changed, and its refusals."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.batches.v1.batches_service_pb2_grpc import BatchesServiceStub
from openbank.client import connect
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.money_pb2 import Money
from openbank.holds.v1.holds_service_pb2_grpc import HoldsServiceStub
from openbank.integration.v1.integration_events_service_pb2_grpc import IntegrationEventsServiceStub
from openbank.operations.v1.quarantine_service_pb2_grpc import QuarantineServiceStub
from openbank.operations.v1.views_service_pb2_grpc import ViewsServiceStub
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub
from openbank.transfers.v1.transfers_service_pb2_grpc import TransfersServiceStub

Answer = TypeVar("Answer")

_numbers = itertools.count(100_000_000)

SOON = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))
"""A bank that is killed and started again may get a port that one had before it, which gRPC would leave alone for up
to two minutes."""


class Caller:
    """A channel to a bank, and the stubs on it."""

    def __init__(self, address: str, **credentials: Any) -> None:
        """`credentials` are those of `connect`."""
        self.address = address
        self.channel = connect(address, options=SOON, **credentials)
        self.persons: Any = PersonsServiceStub(self.channel)
        self.accounts: Any = AccountsServiceStub(self.channel)
        self.transfers: Any = TransfersServiceStub(self.channel)
        self.holds: Any = HoldsServiceStub(self.channel)
        self.batches: Any = BatchesServiceStub(self.channel)
        self.quarantine: Any = QuarantineServiceStub(self.channel)
        self.views: Any = ViewsServiceStub(self.channel)
        self.integration_events: Any = IntegrationEventsServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()

    async def register(self, **changes: Any) -> persons.RegisterPersonResponse:
        response: persons.RegisterPersonResponse = await self.persons.RegisterPerson(john_doe(**changes))
        return response

    async def open(self, owner_id: str = "", **changes: Any) -> accounts.OpenAccountResponse:
        """An account, of a person who is registered for it unless there is one."""
        owner_id = owner_id or (await self.register()).person.person_id
        response: accounts.OpenAccountResponse = await self.accounts.OpenAccount(opening(owner_id, **changes))
        return response

    async def deposit(self, account_id: str, amount: str, **changes: Any) -> accounts.DepositResponse:
        request = accounts.DepositRequest(account_id=account_id, amount=usd(amount), **changes)
        response: accounts.DepositResponse = await self.accounts.Deposit(request)
        return response

    async def balance(self, account_id: str, token: str = "") -> str:
        request = accounts.GetAccountRequest(account_id=account_id, consistency_token=token)
        return show((await self.accounts.GetAccount(request)).account.balance)

    async def balance_in_the_end(self, account_id: str, token: str) -> str:
        """After a crash it takes another instance 10 s to project."""
        return await until_available(lambda: self.balance(account_id, token))

    async def account_events(self) -> list[Any]:
        """All events of all accounts so far, by the feed."""
        request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
        return [event async for response in self.accounts.WatchAccountEvents(request) for event in response.events]

    async def deposit_until_gone(self, account_id: str, acknowledged: dict[str, str]) -> list[tuple[str, str]]:
        """Deposits one after another until the bank is gone: event ids by request id into `acknowledged`.

        The request and its account whose outcome is not known, if any.
        """
        while True:
            name = request_id()
            try:
                answer = await self.deposit(account_id, "1", request_id=name)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - how a killed bank looks
                return [(name, account_id)]
            acknowledged[name] = answer.event_id


async def until_available(call: Callable[[], Awaitable[Answer]], seconds_max: float = 30) -> Answer:
    """Asked again while the answer is UNAVAILABLE, as callers do."""
    async with asyncio.timeout(seconds_max):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)


def john_doe(**changes: Any) -> Any:
    request = persons.RegisterPersonRequest(
        first_name="John",
        last_name="Doe",
        nationality="American",
        gender=person_pb2.GENDER_MALE,
        date_of_birth=Date(year=1990, month=1, day=1),
        address=person_pb2.Address(street="123 Main St", city="New York", postal_code="10001", country="USA"),
        email="john.doe@example.com",
    )
    return changed(request, changes)


def opening(owner_id: str, **changes: Any) -> Any:
    request = accounts.OpenAccountRequest(owner_id=owner_id, account_number=str(next(_numbers)))
    return changed(request, changes)


def changed(request: Any, changes: dict[str, Any]) -> Any:
    """With other values; None leaves a field out."""
    for name, value in changes.items():
        if value is None:
            request.ClearField(name)
        elif isinstance(value, Message):
            getattr(request, name).CopyFrom(value)
        else:
            setattr(request, name, value)
    return request


def usd(amount: str) -> Money:
    units, _, cents = amount.partition(".")
    return Money(currency_code="USD", units=int(units), nanos=int(cents.ljust(2, "0")) * 10_000_000)


def show(money: Money) -> str:
    return f"{money.units}.{money.nanos // 10_000_000:02d} {money.currency_code}"


def request_id() -> str:
    return str(uuid4())


@dataclass(frozen=True)
class Refusal:
    """An error as a caller gets it: the status, and the details that came with it."""

    code: grpc.StatusCode
    message: str
    details: dict[str, Any]
    """By the short name of their type: "ErrorInfo", "BadRequest"."""
    trailing: dict[str, Any]
    size: int = field(repr=False)

    @property
    def reason(self) -> str:
        info = self.details["ErrorInfo"]
        assert info.domain == "openbank"
        return str(info.reason).removeprefix("ERROR_REASON_")

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.details["ErrorInfo"].metadata)

    @property
    def violations(self) -> dict[str, str]:
        """Reasons by field."""
        found = self.details["BadRequest"].field_violations
        assert all(violation.description for violation in found)
        return {violation.field: violation.reason.removeprefix("ERROR_REASON_") for violation in found}


_DETAILS = {
    f"google.rpc.{name}": getattr(error_details_pb2, name)
    for name in ("ErrorInfo", "BadRequest", "PreconditionFailure", "ResourceInfo", "RetryInfo")
}


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    trailing = dict(tuple(error.trailing_metadata() or ()))
    packed = trailing.get("grpc-status-details-bin", b"")
    assert isinstance(packed, bytes)
    details = _details(status_pb2.Status.FromString(packed))
    return Refusal(error.code(), error.details() or "", details, trailing, len(packed))


def refusal_of(status: Message) -> Refusal:
    """The refusal of one command of a batch, which is read as a google.rpc.Status."""
    packed = status.SerializeToString()
    read = status_pb2.Status.FromString(packed)
    (code,) = (code for code in grpc.StatusCode if code.value[0] == read.code)
    return Refusal(code, read.message, _details(read), {}, len(packed))


def _details(status: status_pb2.Status) -> dict[str, Any]:
    details = {}
    for detail in status.details:
        name = detail.type_url.rpartition("/")[2]
        details[name.rpartition(".")[2]] = _DETAILS[name].FromString(detail.value)
    return details


async def refused(call: Awaitable[Any]) -> Refusal:
    """The refusal that a call ends with, which it must."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


async def until(condition: Callable[[], bool], seconds_max: float = 5) -> None:
    async with asyncio.timeout(seconds_max):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)

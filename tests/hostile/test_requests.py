"""What no well-meant client sends is answered like the rest: with a status that says why, and nothing of the inside."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.integration.v1 import integration_events_service_pb2 as integration
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.persons.v1.person_pb2 import Address
from openbank.server import Server
from tests.callers import Caller, changed, john_doe, refusal, refused, usd

METHODS = [
    f"/{file.DESCRIPTOR.package}.{service.name}/{method.name}"
    for file in (persons, accounts, integration)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
GARBAGE = {
    "half a tag": b"\xff",
    "a field cut short": b"\x0a\x05abc",
    "a group without end": b"\x0b",
    "no wire type": b"\x0f",
    "a field numbered 0": b"\x00\x00",
    "every byte": bytes(range(256)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_bytes_that_are_not_a_request_are_malformed(bank: Caller, method: str, garbage: str) -> None:
    told = await refused(_call(bank, method, GARBAGE[garbage]))
    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.reason == "MALFORMED_REQUEST"
    assert "Error" not in told.message


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"])
async def test_bytes_that_are_not_a_health_check_are_an_invalid_argument(bank: Caller, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(bank, method, b"\xff")
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT


async def test_a_text_that_is_not_unicode_makes_a_request_malformed(bank: Caller) -> None:
    told = await refused(_call(bank, "/openbank.accounts.v1.AccountsService/Deposit", _field(3, b"\xff\xfe")))
    assert told.reason == "MALFORMED_REQUEST"


async def test_an_empty_request_is_one_without_fields(bank: Caller) -> None:
    told = await refused(_call(bank, "/openbank.accounts.v1.AccountsService/Deposit", b""))
    assert told.violations == {"account_id": "FIELD_REQUIRED", "amount": "FIELD_REQUIRED"}


async def test_an_unknown_field_of_a_mutation_is_refused_by_its_path(bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("5"))).account.account_id
    request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
    raw = request.SerializeToString() + _field(4, _field(15, b"dry run")) + _field(99, b"")
    told = await refused(_call(bank, "/openbank.accounts.v1.AccountsService/Deposit", raw))

    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.violations == {"99": "UNKNOWN_FIELD", "amount.15": "UNKNOWN_FIELD"}
    assert await bank.balance(account_id) == "5.00 USD"


async def test_unknown_fields_are_found_in_every_message_of_a_registration(bank: Caller) -> None:
    raw = john_doe().SerializeToString() + _field(8, _field(77, b"")) + _field(9, _field(77, b""))
    told = await refused(_call(bank, "/openbank.persons.v1.PersonsService/RegisterPerson", raw))
    assert told.violations == {"date_of_birth.77": "UNKNOWN_FIELD", "address.77": "UNKNOWN_FIELD"}


async def test_a_query_may_have_fields_of_a_newer_contract(bank: Caller) -> None:
    opened = await bank.open()
    request = accounts.GetAccountRequest(account_id=opened.account.account_id)
    raw = request.SerializeToString() + _field(99, b"newer")
    answered = await _call(bank, "/openbank.accounts.v1.AccountsService/GetAccount", raw)
    assert accounts.GetAccountResponse.FromString(answered).account.account_id == opened.account.account_id


async def test_a_start_of_a_newer_contract_looks_unset(bank: Caller) -> None:
    told = await refused(_call(bank, "/openbank.accounts.v1.AccountsService/WatchAccountEvents", _field(5, b"")))
    assert told.reason == "FEED_START_REQUIRED"


async def test_a_message_over_the_limit_is_refused_by_grpc_itself(bank: Caller) -> None:
    request = accounts.DepositRequest(account_id="a", amount=usd("1"), description="x" * (1 << 20))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bank.accounts.Deposit(request)
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_a_compressed_request_is_refused_before_it_is_unpacked(server: Server) -> None:
    """A megabyte of it can be a thousand, which would all be in memory before its size is looked at."""
    async with grpc.aio.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel:
        call: Any = channel.unary_unary("/openbank.persons.v1.PersonsService/ListPersons")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(100_000))
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def test_the_fullest_page_fits_into_what_clients_take(bank: Caller) -> None:
    """Which is 4 MiB unless they say otherwise."""
    long = "\U0001f600"
    address = Address(street=long * 200, city=long * 100, postal_code=long * 20, country=long * 100)
    texts = {"first_name": 100, "last_name": 100, "nationality": 100, "email": 254}
    request = john_doe(address=address, **{name: long * length for name, length in texts.items()})
    registered: list[Any] = []
    for number in range(0, 1000, 50):
        some = []
        for index in range(number, number + 50):
            some.append(persons.RegisterPersonRequest())
            some[-1].CopyFrom(changed(request, {"person_id": f"{index:064}"}))
        registered += await asyncio.gather(*(bank.persons.RegisterPerson(one) for one in some))
    asked = persons.ListPersonsRequest(page_size=1000, consistency_token=registered[-1].consistency_token)
    page = await bank.persons.ListPersons(asked)
    assert len(page.persons) == 1000
    assert 4_000_000 < page.ByteSize() < 4 << 20


async def test_reflection_does_not_repeat_deeply_nested_groups(bank: Caller) -> None:
    """Which repeats the request, one level deeper, where a client could not read it any more."""
    channel: Any = bank.channel
    deep = _field(7, b"") + b"\x4b" * 100 + b"\x4c" * 100
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(iter([deep]))
    [answer] = [reflection_pb2.ServerReflectionResponse.FromString(raw) async for raw in call]
    assert answer.list_services_response.service


async def test_a_method_that_is_not_there_is_unimplemented(bank: Caller) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(bank, "/openbank.accounts.v1.AccountsService/Steal", b"")
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("given", ["a", "x" * 128, "order 17 / part 2", "~!{}"])
async def test_a_correlation_id_comes_back(bank: Caller, given: str) -> None:
    assert await _correlation_id(bank, given) == given


@pytest.mark.parametrize("given", ["", "x" * 129, None])
async def test_a_malformed_correlation_id_is_replaced(bank: Caller, given: str | None) -> None:
    made = await _correlation_id(bank, given)
    assert made != given
    assert 1 <= len(made) <= 128
    assert await _correlation_id(bank, given) != made


async def test_a_correlation_id_comes_back_with_refusals_and_stays_with_the_event(bank: Caller) -> None:
    metadata = (("x-correlation-id", "order-17"),)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bank.accounts.Deposit(accounts.DepositRequest(), metadata=metadata)
    assert refusal(caught.value).trailing["x-correlation-id"] == "order-17"

    registered = await bank.persons.RegisterPerson(john_doe(), metadata=metadata)
    watch = bank.persons.WatchPersonEvents(
        persons.WatchPersonEventsRequest(beginning=Empty(), stop_when_caught_up=True), metadata=metadata
    )
    events = [event async for response in watch for event in response.events]
    assert [event.correlation_id for event in events] == ["order-17"]
    assert events[0].person_id == registered.person.person_id
    assert dict(tuple(await watch.trailing_metadata()))["x-correlation-id"] == "order-17"


async def _correlation_id(bank: Caller, given: str | None) -> str:
    metadata = () if given is None else (("x-correlation-id", given),)
    call = bank.persons.ListPersons(persons.ListPersonsRequest(), metadata=metadata)
    await call
    return str(dict(tuple(await call.trailing_metadata()))["x-correlation-id"])


async def _call(bank: Caller, method: str, raw: bytes) -> Any:
    """The answer's bytes, or the first of many answers'."""
    channel: Any = bank.channel
    if "Watch" in method:
        return await channel.unary_stream(method)(raw).read()
    return await channel.unary_unary(method)(raw)


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field as it stands in a message."""
    tag = number << 3 | 2
    return _varint(tag) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])

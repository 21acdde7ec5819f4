"""A request that is too large, or wrong in too many places, is refused at little cost and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.account_events_pb2 import ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED
from openbank.common.v1.money_pb2 import Money
from openbank.domain.errors import InvalidFields
from openbank.integration.v1 import integration_events_service_pb2 as integration
from openbank.persons.v1.person_pb2 import Address
from openbank.rpc.errors import TooManyMessages
from openbank.rpc.guards import MESSAGES_MAX, KnownFields, request_bytes_max
from openbank.rpc.services import DESCRIPTORS
from tests.callers import Caller, john_doe, refused, request_id, usd
from tests.hostile.messages import VARINT, field, tag, varint
from tests.hostile.run import resident_bytes
from tests.servers import ServerProcess

DEPOSIT = "/openbank.accounts.v1.AccountsService/Deposit"
REGISTER = "/openbank.persons.v1.PersonsService/RegisterPerson"
UNKNOWN = tag(127, VARINT) + varint(1)
MEBIBYTE = 1 << 20
GROWTH_BYTES_MAX = 64 * MEBIBYTE
REFUSALS = {"AbortError", "InvalidFields", "AccountNotFound", "RevisionMismatch", "InsufficientFunds", "Malformed"}
SMILE = "\U0001f600"
IDS = [f"{number:064}" for number in range(1_000)]


async def test_a_request_larger_than_its_method_allows_is_refused_unread(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    told = await refused(bank.deposit(account_id, "1", description="x" * 1_000_000))
    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.reason == "REQUEST_TOO_LARGE"
    assert int(told.metadata["size"]) > 1_000_000 > int(told.metadata["maxSize"])
    assert await bank.balance(account_id) == "0.00 USD"


async def test_a_text_that_is_only_somewhat_too_long_is_refused_by_its_field(bank: Caller) -> None:
    told = await refused(bank.deposit("a", "1", description="x" * 10_000))
    assert told.violations == {"description": "FIELD_TOO_LONG"}


REQUESTS = {
    f"/{service.full_name}/{method.name}": method.input_type for service in DESCRIPTORS for method in service.methods
}


@pytest.mark.parametrize("method", REQUESTS)
async def test_every_method_has_a_limit_far_below_that_of_the_transport(bank: Caller, method: str) -> None:
    size = request_bytes_max(REQUESTS[method])
    assert size < MEBIBYTE / 2
    channel: Any = bank.channel
    call = channel.unary_stream(method) if "Watch" in method else channel.unary_unary(method)
    running = call(UNKNOWN * (size // len(UNKNOWN) + 1))
    told = await refused(running.read() if "Watch" in method else running)
    assert told.reason == "REQUEST_TOO_LARGE"


def _largest_requests() -> list[Message]:
    money = Money(currency_code="USD", units=1, nanos=0)
    address = Address(street=SMILE * 200, city=SMILE * 100, postal_code=SMILE * 20, country=SMILE * 100)
    names = dict.fromkeys(("first_name", "last_name", "nationality"), SMILE * 100)
    return [
        john_doe(request_id=request_id(), person_id="p" * 64, address=address, email=SMILE * 254, **names),
        accounts.DepositRequest(
            request_id=request_id(), account_id=IDS[0], amount=money, description=SMILE * 500, expected_revision=2**62
        ),
        accounts.WatchAccountEventsRequest(
            live=Empty(),
            account_ids=IDS,
            owner_ids=IDS,
            event_types=[ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED] * 1_000,
            stop_when_caught_up=True,
        ),
        integration.WatchCloudEventsRequest(
            live=Empty(), account_ids=IDS, person_ids=IDS, event_types=["money.withdrawn.v1"] * 1_000
        ),
    ]


@pytest.mark.parametrize("request_", _largest_requests(), ids=lambda one: one.DESCRIPTOR.name)
def test_the_largest_legal_requests_use_less_than_half_of_their_limit(request_: Message) -> None:
    assert request_.ByteSize() < request_bytes_max(request_.DESCRIPTOR) / 2


async def test_the_largest_legal_requests_are_accepted(bank: Caller) -> None:
    register, _, watch, watch_cloud_events = _largest_requests()
    assert (await bank.persons.RegisterPerson(register)).person.revision == 1
    assert (await bank.accounts.WatchAccountEvents(watch).read()).resume_token
    assert (await bank.integration_events.WatchCloudEvents(watch_cloud_events).read()).resume_token


async def test_thousands_of_unknown_fields_are_reported_in_part_and_counted(bank: Caller) -> None:
    channel: Any = bank.channel
    unknown = b"".join(tag(number, VARINT) + varint(1) for number in range(1_000, 4_000))
    told = await refused(channel.unary_unary(REGISTER)(john_doe().SerializeToString() + unknown))
    assert set(told.violations.values()) == {"UNKNOWN_FIELD"}
    assert told.message.endswith(f"; and {3_000 - len(told.violations)} more")


async def test_an_unknown_field_that_is_repeated_is_reported_once(bank: Caller) -> None:
    channel: Any = bank.channel
    raw = accounts.DepositRequest(account_id="a", amount=usd("1")).SerializeToString()
    told = await refused(channel.unary_unary(DEPOSIT)(raw + UNKNOWN * 2_000))
    assert told.violations == {"127": "UNKNOWN_FIELD"}
    assert "more" not in told.message


async def test_hundreds_of_wrong_ids_are_reported_in_part_and_counted(bank: Caller) -> None:
    request = accounts.WatchAccountEventsRequest(live=Empty(), account_ids=["?"] * 1_000, owner_ids=["?"] * 1_000)
    told = await refused(bank.accounts.WatchAccountEvents(request).read())
    assert told.message.endswith(f"; and {2_000 - len(told.violations)} more")


def _unary(bank: Caller, method: str, raw: bytes) -> Any:
    channel: Any = bank.channel
    return channel.unary_unary(method)(raw)


def _deposit(bank: Caller, raw: bytes) -> Any:
    return _unary(bank, DEPOSIT, raw)


def _watch(bank: Caller, raw: bytes) -> Any:
    channel: Any = bank.channel
    return channel.unary_stream("/openbank.accounts.v1.AccountsService/WatchAccountEvents")(raw).read()


LARGE: dict[str, Callable[[Caller, str], Any]] = {
    "a description of 1 MB": lambda bank, account: bank.deposit(account, "1", description="x" * 1_000_000),
    "a description at the size limit": lambda bank, account: bank.deposit(account, "1", description="x" * 16_000),
    "1 MiB of unknown fields": lambda bank, _: _deposit(bank, UNKNOWN * (MEBIBYTE // 3 - 10)),
    "unknown fields at the size limit": lambda bank, _: _deposit(bank, UNKNOWN * (16_000 // 3)),
    "a watch with a filter of 1 MB": lambda bank, _: _watch(
        bank, accounts.WatchAccountEventsRequest(account_ids=["x" * 1_000_000]).SerializeToString()
    ),
    "a watch with a filter at the size limit": lambda bank, _: _watch(
        bank, accounts.WatchAccountEventsRequest(account_ids=["x" * 390_000]).SerializeToString()
    ),
    "a health check of 1 MB": lambda bank, _: _unary(bank, "/grpc.health.v1.Health/Check", field(1, b"x" * 1_000_000)),
}


@pytest.mark.parametrize("kind", LARGE)
async def test_large_requests_that_are_refused_leave_no_memory_behind(tmp_path: Path, kind: str) -> None:
    process = ServerProcess(tmp_path / "data")
    await process.start()
    async with Caller(process.address) as bank:
        account = (await bank.open()).account.account_id

        async def send(times: int) -> None:
            for _ in range(times // 20):
                outcomes = await asyncio.gather(*[_code(LARGE[kind](bank, account)) for _ in range(20)])
                assert outcomes == [StatusCode.INVALID_ARGUMENT] * 20

        await send(60)
        before = resident_bytes(process.pid)
        await send(400)
        grown = resident_bytes(process.pid) - before
    await process.kill()
    assert grown < GROWTH_BYTES_MAX


async def _code(call: Any) -> StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_refused_call_is_freed_without_the_garbage_collector(bank: Caller) -> None:
    """It counts objects, not bytes, and runs seldom in a server."""
    account_id = (await bank.open()).account.account_id
    overdraw = accounts.WithdrawRequest(account_id=account_id, amount=usd("5"))
    watch = accounts.WatchAccountEventsRequest(account_ids=["?"])
    calls: list[Callable[[], Any]] = [
        lambda: bank.deposit(account_id, "1", description="x" * 501),
        lambda: bank.deposit("none", "1"),
        lambda: bank.deposit(account_id, "1", expected_revision=9),
        lambda: bank.accounts.Withdraw(overdraw),
        lambda: bank.accounts.WatchAccountEvents(watch).read(),
        lambda: _deposit(bank, b"\xff"),
    ]
    for call in calls:
        await refused(call())
    gc.collect()
    # Other tests have refusals as their parameters.
    others = _refusals()
    gc.disable()
    try:
        for call in calls:
            for _ in range(5):
                await refused(call())
        await asyncio.sleep(0.1)
        kept = [one for one in _refusals() if not any(one is other for other in others)]
    finally:
        gc.enable()
    # gRPC holds on to the last one until the next call.
    assert len(kept) <= 1


def _refusals() -> list[object]:
    return [one for one in gc.get_objects() if type(one).__name__ in REFUSALS]


def test_unknown_fields_are_found_in_values_of_repeated_fields() -> None:
    """No mutation has such a field yet; any message that has one shows it."""
    response = accounts.WatchAccountEventsResponse.FromString(
        field(1, b"") + field(1, field(15, b"newer")) + field(1, field(4, b"")) + field(77, b"")
    )
    known = KnownFields(accounts.WatchAccountEventsResponse.DESCRIPTOR)
    with pytest.raises(InvalidFields) as caught:
        known.check(response)
    assert {violation.field for violation in caught.value.violations} == {"77", "events[1].15"}


def _batch_class() -> Any:
    """A mutation that repeats commands, each with one message in a oneof and a list of labels."""
    file = FileDescriptorProto(name="batch.proto", package="batch", syntax="proto3")
    shapes = {
        "Batch": [("commands", "Command", True)],
        "Command": [("deposit", "Deposit", False), ("labels", "Label", True)],
        "Deposit": [("amount", "Amount", False)],
        "Amount": [],
        "Label": [],
    }
    for name, members in shapes.items():
        message = file.message_type.add(name=name)
        for number, (member, type_name, repeated) in enumerate(members, 1):
            label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            message.field.add(
                name=member,
                number=number,
                label=label,
                type=FieldDescriptorProto.TYPE_MESSAGE,
                type_name=f".batch.{type_name}",
            )
    pool = DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return GetMessageClass(pool.FindMessageTypeByName("batch.Batch"))  # type: ignore[no-untyped-call]


def test_unknown_fields_are_found_by_path_however_deep_they_are_repeated() -> None:
    batch = _batch_class()
    deposit = field(1, field(1, b"") + field(9, b""))
    newer = field(1, field(1, field(15, b"newer")) + field(16, b""))
    command = deposit + field(2, b"") + field(2, b"") + field(2, field(15, b"newer"))
    request = batch.FromString(b"".join(field(1, one) for one in (b"", field(1, b""), command, newer)))
    with pytest.raises(InvalidFields) as caught:
        KnownFields(batch.DESCRIPTOR).check(request)
    assert [violation.field for violation in caught.value.violations] == [
        "commands[2].deposit.9",
        "commands[2].labels[2].15",
        "commands[3].deposit.16",
        "commands[3].deposit.amount.15",
    ]


@pytest.mark.parametrize(
    "raw",
    [field(1, b"") * MESSAGES_MAX, field(1, field(2, b"") * (MESSAGES_MAX // 100)) * 100],
    ids=["in one list", "in lists within a list"],
)
def test_a_request_of_too_many_messages_is_refused_without_a_look_at_each(raw: bytes) -> None:
    batch = _batch_class()
    known = KnownFields(batch.DESCRIPTOR)
    known.check(batch.FromString(field(1, b"") * (MESSAGES_MAX - 1)))
    with pytest.raises(TooManyMessages):
        known.check(batch.FromString(raw))

"""The form of a batch, its limits, and what is said of each command."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.eventstore.errors import StoreUnavailable
from openbank.rpc import batches as edge
from openbank.rpc.errors import DETAILS_BYTES_MAX
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import Caller, john_doe, opening, refusal_of, refused, request_id, usd
from tests.hostile.messages import field

INDEPENDENT, ATOMIC = batches.BATCH_MODE_INDEPENDENT, batches.BATCH_MODE_ATOMIC
EXECUTE = "/openbank.batches.v1.BatchesService/ExecuteBatch"


def deposit(account_id: str = "a", amount: str = "1", **changes: Any) -> batches.BatchCommand:
    request = accounts.DepositRequest(account_id=account_id, amount=usd(amount), **changes)
    return batches.BatchCommand(deposit=request)


async def violations(bank: Caller, mode: Any, *commands: Any, **changes: Any) -> dict[str, str]:
    request = batches.ExecuteBatchRequest(mode=mode, commands=commands, **changes)
    return (await refused(bank.batches.ExecuteBatch(request))).violations


async def test_a_batch_that_is_not_well_formed_is_refused_by_path(bank: Caller) -> None:
    assert await violations(bank, 0) == {"mode": "FIELD_REQUIRED", "commands": "FIELD_REQUIRED"}
    assert await violations(bank, 7, deposit()) == {"mode": "UNKNOWN_ENUM_VALUE"}
    assert await violations(bank, ATOMIC, *[deposit()] * 501) == {"commands": "TOO_MANY_VALUES"}
    found = await violations(
        bank, INDEPENDENT, deposit(request_id=request_id()), deposit(), batches.BatchCommand(),
        request_id=request_id(), expected_revision=1,
    )  # fmt: skip
    assert found == {
        "commands[1].deposit.request_id": "FIELD_REQUIRED",
        "commands[2]": "FIELD_REQUIRED",
        "request_id": "FIELD_NOT_ALLOWED",
        "expected_revision": "FIELD_NOT_ALLOWED",
    }


async def test_an_atomic_batch_is_about_one_account(bank: Caller) -> None:
    found = await violations(
        bank,
        ATOMIC,
        deposit("a", request_id=request_id()),
        deposit("b"),
        batches.BatchCommand(create_transfer=transfers.CreateTransferRequest(source_account_id="a")),
        batches.BatchCommand(open_account=opening("john", account_id="a")),
        batches.BatchCommand(register_person=john_doe()),
        deposit("a", expected_revision=1, validate_only=True),
    )
    assert found == {
        "commands[0].deposit.request_id": "FIELD_NOT_ALLOWED",
        "commands[1].deposit.account_id": "FIELD_NOT_ALLOWED",
        "commands[2].create_transfer": "FIELD_NOT_ALLOWED",
        "commands[3].open_account": "FIELD_NOT_ALLOWED",
        "commands[4].register_person": "FIELD_NOT_ALLOWED",
        "commands[5].deposit.expected_revision": "FIELD_NOT_ALLOWED",
        "commands[5].deposit.validate_only": "FIELD_NOT_ALLOWED",
    }


@pytest.mark.parametrize("excluded", ["register_person", "open_account", "create_transfer"])
async def test_the_first_command_of_an_atomic_batch_may_be_one_without_an_account(bank: Caller, excluded: str) -> None:
    first = batches.BatchCommand()
    getattr(first, excluded).SetInParent()
    found = await violations(bank, ATOMIC, first, deposit("a"), deposit("b"))
    assert found == {f"commands[0].{excluded}": "FIELD_NOT_ALLOWED"}


@pytest.mark.parametrize("id", ["", "7d0e3f5c-9a1b-4c2d-8e3f-5a6b7c8d9e0f"])
async def test_all_wrong_fields_of_an_atomic_batch_are_found_at_once(bank: Caller, id: str) -> None:
    wrong = accounts.DepositRequest(account_id="a", description="\0")
    wrong.amount.currency_code = "XXX"
    found = await violations(
        bank, ATOMIC, deposit(), batches.BatchCommand(deposit=wrong), deposit(amount="0"), request_id=id
    )
    assert found == {
        "commands[1].deposit.amount.currency_code": "UNKNOWN_CURRENCY",
        "commands[1].deposit.amount": "AMOUNT_NOT_POSITIVE",
        "commands[1].deposit.description": "INVALID_TEXT",
        "commands[2].deposit.amount": "AMOUNT_NOT_POSITIVE",
    }


async def test_a_refusal_within_an_atomic_batch_has_the_path_of_its_command(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    other = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
    other.amount.currency_code = "EUR"
    found = await violations(bank, ATOMIC, deposit(account_id), batches.BatchCommand(deposit=other))
    assert found == {"commands[1].deposit.amount.currency_code": "CURRENCY_MISMATCH"}
    told = await refused(
        bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=ATOMIC, commands=[deposit("nobody")]))
    )
    assert (told.reason, told.metadata["command"]) == ("ACCOUNT_NOT_FOUND", "commands[0].deposit")
    assert told.details["ResourceInfo"].resource_name == "nobody"


async def test_a_command_that_stands_alone_is_refused_as_a_call_of_its_own(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    requests: list[Any] = [
        accounts.DepositRequest(account_id="nobody", amount=usd("1")),
        accounts.DepositRequest(account_id=account_id, description="x" * 501),
        accounts.WithdrawRequest(account_id=account_id, amount=usd("1")),
        accounts.WithdrawRequest(account_id=account_id, amount=usd("1"), expected_revision=9),
    ]
    made = []
    for request in requests:
        request.request_id = request_id()
        name = type(request).__name__.removesuffix("Request").lower()
        made.append(batches.BatchCommand(**{name: request}))
    answer = await bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=INDEPENDENT, commands=made))
    assert answer.consistency_token == ""
    for request, result in zip(requests, answer.results, strict=True):
        rpc = type(request).__name__.removesuffix("Request")
        alone = await refused(getattr(bank.accounts, rpc)(request))
        told = refusal_of(result.status)
        assert (told.code, told.message, told.details) == (alone.code, alone.message, alone.details)
        assert told.size <= DETAILS_BYTES_MAX


async def test_unknown_fields_are_found_in_every_command(bank: Caller) -> None:
    channel: Any = bank.channel
    newer = field(3, field(4, field(15, b"")))
    request = field(4, newer) + field(4, field(3, field(77, b""))) + field(4, field(9, b""))
    told = await refused(channel.unary_unary(EXECUTE)(request))
    assert told.violations == {
        "commands[0].deposit.amount.15": "UNKNOWN_FIELD",
        "commands[1].deposit.77": "UNKNOWN_FIELD",
        "commands[2].9": "UNKNOWN_FIELD",
    }


async def test_a_batch_of_many_bytes_is_refused_by_its_size(bank: Caller) -> None:
    request = batches.ExecuteBatchRequest(mode=ATOMIC, commands=[deposit(description="x" * 1_100)] * 450)
    assert (await refused(bank.batches.ExecuteBatch(request))).reason == "REQUEST_TOO_LARGE"


async def test_five_hundred_commands_are_carried_out(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    whole = batches.ExecuteBatchRequest(mode=ATOMIC, commands=[deposit(account_id)] * 500)
    last = (await bank.batches.ExecuteBatch(whole)).results[-1].deposit
    assert (last.account.revision, last.account.balance) == (501, usd("500"))
    each = [deposit(account_id, request_id=request_id()) for _ in range(500)]
    answer = await bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=INDEPENDENT, commands=each))
    assert [one.deposit.account.revision for one in answer.results] == list(range(502, 1002))


async def test_a_caller_that_gives_up_leaves_no_half_of_an_atomic_batch(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    request = batches.ExecuteBatchRequest(mode=ATOMIC, commands=[deposit(account_id)] * 100, request_id=request_id())
    for milliseconds in range(12):
        call = bank.batches.ExecuteBatch(request)
        await asyncio.sleep(milliseconds / 1000)
        call.cancel()
        request.request_id = request_id()
    paid = await bank.deposit(account_id, "1")
    assert paid.account.revision % 100 == 2


async def test_a_batch_has_one_line_in_the_log(bank: Caller, caplog: pytest.LogCaptureFixture) -> None:
    account_id = (await bank.open()).account.account_id
    caplog.clear()
    with caplog.at_level(logging.INFO, "openbank.calls"):
        each = [deposit(account_id, description="for the surgery", request_id=request_id()) for _ in range(3)]
        await bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=INDEPENDENT, commands=each))
    (line,) = [record for record in caplog.records if record.name == "openbank.calls"]
    values = getattr(line, "values")  # noqa: B009
    assert (values["method"], values["commands"]) == ("openbank.batches.v1.BatchesService/ExecuteBatch", 3)
    assert "surgery" not in str(values)


async def test_a_bug_in_one_command_does_not_affect_the_others(
    bank: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    account_id = (await bank.open()).account.account_id

    async def fail(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(edge.ROWS["open_account"], "command", fail)
    made = [
        deposit(account_id, request_id=request_id()),
        batches.BatchCommand(open_account=opening("john", request_id=request_id())),
    ]
    answer = await bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=INDEPENDENT, commands=made))
    assert answer.results[0].HasField("deposit")
    told = refusal_of(answer.results[1].status)
    assert told.reason == "INTERNAL"
    assert "secret" not in told.message
    assert any(told.metadata["errorId"] in str(getattr(record, "values", "")) for record in caplog.records)


async def test_each_command_reports_that_the_store_is_away(bank: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(edge.ROWS["open_account"], "command", fail)
    made = [batches.BatchCommand(open_account=opening("john", request_id=request_id()))]
    answer = await bank.batches.ExecuteBatch(batches.ExecuteBatchRequest(mode=INDEPENDENT, commands=made))
    told = refusal_of(answer.results[0].status)
    assert told.reason == "STORE_UNAVAILABLE"
    assert told.details["RetryInfo"].retry_delay.ToMilliseconds() == 1000

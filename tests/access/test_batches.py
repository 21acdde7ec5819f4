"""Each command of a batch is judged as a call of its own RPC."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.config import Settings
from tests.access.callers import Asked, Keys, ask, write_access
from tests.callers import john_doe, opening, refusal_of, request_id, usd

EXECUTE = "openbank.batches.v1.BatchesService/ExecuteBatch"
INDEPENDENT, ATOMIC = batches.BATCH_MODE_INDEPENDENT, batches.BATCH_MODE_ATOMIC


def withdraw(account_id: str, **changes: Any) -> batches.BatchCommand:
    return batches.BatchCommand(withdraw=accounts.WithdrawRequest(account_id=account_id, amount=usd("1"), **changes))


def deposit(account_id: str, **changes: Any) -> batches.BatchCommand:
    return batches.BatchCommand(deposit=accounts.DepositRequest(account_id=account_id, amount=usd("1"), **changes))


async def test_a_customer_moves_its_own_money_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys()
    access = write_access(
        tmp_path / "access.toml",
        keys.entry("teller", "teller"),
        keys.entry("customer", "customer", more='owner = "alice"'),
    )
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", access=access, drain_seconds=1)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.address) as channel:

        async def execute(role: str, mode: Any, *commands: Any) -> Asked:
            request = batches.ExecuteBatchRequest(mode=mode, commands=commands)
            return await ask(channel, EXECUTE, request, keys[role].key)

        taken_on = [
            batches.BatchCommand(register_person=john_doe(person_id=name, request_id=request_id()))
            for name in ("alice", "bob")
        ] + [
            batches.BatchCommand(
                open_account=opening(name, account_id=f"{name}-1", initial_deposit=usd("9"), request_id=request_id())
            )
            for name in ("alice", "bob")
        ]
        made: Any = (await execute("teller", INDEPENDENT, *taken_on)).responses[0]
        assert not any(result.HasField("status") for result in made.results)

        caplog.clear()
        with caplog.at_level(logging.INFO, "openbank.audit"):
            commands = [
                withdraw("alice-1", request_id=request_id()),
                withdraw("bob-1", request_id=request_id()),
                withdraw("nobody", request_id=request_id()),
                deposit("alice-1", request_id=request_id()),
            ]
            each: Any = (await execute("customer", INDEPENDENT, *commands)).responses[0]
        own, theirs, missing, unpermitted = each.results
        assert own.withdraw.account.balance == usd("8")
        hidden, not_there, denied = (refusal_of(one.status) for one in (theirs, missing, unpermitted))
        assert hidden.message.replace("bob-1", "nobody") == not_there.message
        assert (hidden.reason, not_there.reason) == ("ACCOUNT_NOT_FOUND",) * 2
        assert (denied.reason, denied.metadata) == ("PERMISSION_MISSING", {"permission": "accounts.deposit"})
        lines = [record for record in caplog.records if record.name == "openbank.audit"]
        audited = [getattr(record, "values") for record in lines]  # noqa: B009
        assert sorted((line["outcome"], line.get("account_id", "")) for line in audited) == [
            ("denied", "alice-1"),
            ("denied", "bob-1"),
            ("denied", "nobody"),
            ("done", ""),
        ]

        whole = await execute("customer", ATOMIC, withdraw("alice-1"), deposit("alice-1"))
        assert whole.refused is not None
        assert (whole.reason, whole.refused.metadata["command"]) == ("PERMISSION_MISSING", "commands[1].deposit")
        other, gone = [await execute("customer", ATOMIC, withdraw(id), withdraw(id)) for id in ("bob-1", "nobody")]
        assert other.refused is not None
        assert gone.refused is not None
        assert other.refused.message.replace("bob-1", "nobody") == gone.refused.message
        assert (await execute("customer", ATOMIC, withdraw("alice-1"), withdraw("alice-1"))).reason == "OK"


async def test_each_command_counts_against_the_limit_of_its_caller(tmp_path: Path) -> None:
    keys = Keys()
    limits = "[limits.teller]\ncalls_per_second = 0.01\nburst = 5\n"
    access = write_access(tmp_path / "access.toml", keys.entry("teller", "teller"), limits)
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", access=access, drain_seconds=1)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.address) as channel:

        async def execute(mode: Any, count: int) -> Asked:
            commands = [deposit("nobody", request_id="" if mode == ATOMIC else request_id()) for _ in range(count)]
            request = batches.ExecuteBatchRequest(mode=mode, commands=commands)
            return await ask(channel, EXECUTE, request, keys["teller"].key)

        assert (await execute(INDEPENDENT, 3)).reason == "OK"
        for mode in (INDEPENDENT, ATOMIC):
            refused = (await execute(mode, 3)).refused
            assert refused
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
            assert refused.metadata["limit"] == "calls_per_second"
            assert 90 <= refused.details["RetryInfo"].retry_delay.seconds <= 100
        assert (await execute(ATOMIC, 2)).reason == "ACCOUNT_NOT_FOUND"
        assert (await execute(INDEPENDENT, 1)).reason == "RATE_LIMITED"

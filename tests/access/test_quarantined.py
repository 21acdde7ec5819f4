"""That an account is quarantined is for its owner to know, and for those who may see everybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.access.callers import METHODS, Asked, Keys, ask, short, write_access
from tests.callers import Caller, usd
from tests.stories.test_quarantine import forged, written

REQUESTS: dict[str, Callable[[str], Any]] = {
    "GetAccount": lambda account: accounts.GetAccountRequest(account_id=account),
    "ListAccountEvents": lambda account: accounts.ListAccountEventsRequest(account_id=account),
    "ListHolds": lambda account: holds.ListHoldsRequest(account_id=account),
    "ListTransfers": lambda account: transfers.ListTransfersRequest(account_id=account),
    "Withdraw": lambda account: accounts.WithdrawRequest(account_id=account, amount=usd("1")),
    "PlaceHold": lambda account: holds.PlaceHoldRequest(account_id=account, amount=usd("1")),
    "CreateTransfer": lambda account: transfers.CreateTransferRequest(
        source_account_id=account, destination_account_id="payee", amount=usd("1")
    ),
}


@pytest.fixture
async def forged_bank(settings: Settings) -> None:
    """Mary's account "other" has an event that does not follow."""
    async with serving(settings) as server, Caller(server.address) as bank:
        for person, account in (("mary", "other"), ("john", "payee")):
            await bank.register(person_id=person)
            await bank.open(person, account_id=account)
    await written(settings, "account-other", 1, [forged(balance=99, owner_id="mary")])


async def test_a_watch_of_a_caller_without_a_person_does_not_reveal_a_forged_event(
    settings: Settings, tmp_path: Path
) -> None:
    """The event that is not believed names no owner, as a caller without a person has none."""
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="mary")
        await bank.open("mary", account_id="other")
    await written(settings, "account-other", 1, [forged(balance=99, owner_id="")])
    keys = Keys()
    access = write_access(
        tmp_path / "access.toml", keys.entry("auditor", "auditor"), keys.entry("without-person", "customer")
    )
    guarded = Settings(listen=settings.listen, data=settings.data, access=access, drain_seconds=1)
    async with serving(guarded) as server, grpc.aio.insecure_channel(server.address) as channel:

        async def told(caller: str) -> list[str]:
            watch = next(name for name in METHODS if short(name) == "WatchAccountEvents")
            request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
            asked: Any = await ask(channel, watch, request, keys[caller].key)
            assert asked.reason == "OK"
            return [one.aggregate for response in asked.responses for one in response.quarantined]

        assert await told("auditor") == ["account-other"]
        assert await told("without-person") == []


async def test_a_stranger_does_not_learn_that_an_account_is_quarantined(
    forged_bank: None, settings: Settings, tmp_path: Path
) -> None:
    keys = Keys()
    access = write_access(
        tmp_path / "access.toml",
        keys.entry("auditor", "auditor"),
        keys.entry("john", "customer", more='owner = "john"'),
        keys.entry("mary", "customer", more='owner = "mary"'),
    )
    guarded = Settings(listen=settings.listen, data=settings.data, access=access, drain_seconds=1)
    async with serving(guarded) as server, grpc.aio.insecure_channel(server.address) as channel:

        async def asked(method: str, account: str, caller: str) -> Asked:
            full = next(name for name in METHODS if short(name) == method)
            request: Any = REQUESTS[method](account)
            return await ask(channel, full, request, keys[caller].key)

        async with asyncio.timeout(10):
            while (await asked("GetAccount", "other", "auditor")).reason != "AGGREGATE_QUARANTINED":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for method in REQUESTS:
            others, missing = await asked(method, "other", "john"), await asked(method, "missd", "john")
            assert others.refused is not None
            assert missing.refused is not None
            assert others.code is grpc.StatusCode.NOT_FOUND
            seen = others.refused.trailing["grpc-status-details-bin"]
            assert seen.replace(b"other", b"missd") == missing.refused.trailing["grpc-status-details-bin"]
            if method != "ListTransfers":
                assert (await asked(method, "other", "mary")).reason == "AGGREGATE_QUARANTINED"

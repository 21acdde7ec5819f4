"""A client that takes nothing is ended in the end; what it has, and what it has not, it can tell by its token."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.config import Settings
from openbank.server import Server
from tests.callers import Caller, refusal

DEPOSITS = 2_000
DESCRIPTION = "d" * 140
SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16))
"""A client that takes in little ahead of its reader: left alone, it would take some megabytes."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(listen=settings.listen, data=settings.data, silence_seconds_max=0.5, watches_max=1, drain_seconds=1)


async def test_a_slow_watch_ends_with_its_token_and_continues_from_there(bank: Caller, server: Server) -> None:
    account_id = (await bank.open()).account.account_id
    for _ in range(0, DEPOSITS, 100):
        await asyncio.gather(*(bank.deposit(account_id, "1", description=DESCRIPTION) for _ in range(100)))
    async with grpc.aio.insecure_channel(server.address, options=SMALL_WINDOW) as channel:
        stub: Any = AccountsServiceStub(channel)
        stalled = stub.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        token = (await stalled.read()).resume_token
        await until_there_is_room(bank)
        revisions: list[int] = []
        told = None
        while told is None:
            try:
                response = await stalled.read()
            except AioRpcError as error:
                told = refusal(error)
            else:
                revisions += [event.revision for event in response.events]
                token = response.resume_token
    assert (told.code, told.reason) == (StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")
    # What was on its way is lost with the stream: the token that counts is that of the last response it has read.
    assert revisions + await watched(bank, token) == list(range(1, DEPOSITS + 2))
    assert len(await watched(bank, told.metadata["resumeToken"])) > 0


async def until_there_is_room(bank: Caller) -> None:
    """For a watch: there may be only one."""
    async with asyncio.timeout(20):
        while True:
            other = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(live=Empty()))
            try:
                await other.read()
            except AioRpcError as error:
                assert refusal(error).reason == "TOO_MANY_WATCHES"  # noqa: PT017 - what is waited for
                await asyncio.sleep(0.05)
            else:
                other.cancel()
                return


async def watched(bank: Caller, token: str) -> list[Any]:
    request = accounts.WatchAccountEventsRequest(resume_token=token, stop_when_caught_up=True)
    while True:
        try:
            return [
                event.revision
                async for response in bank.accounts.WatchAccountEvents(request)
                for event in response.events
            ]
        except AioRpcError as error:
            assert refusal(error).reason == "TOO_MANY_WATCHES"  # noqa: PT017 - the last one is still on its way out

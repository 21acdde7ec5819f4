"""A stop is graceful and short: watches get their last token, calls their answers, and nobody waits for idlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands.accounts import deposit
from openbank.common.v1 import feed_pb2
from openbank.config import Settings
from tests.callers import Caller, refused


class Stoppable:
    """A bank that the test stops, and a caller whose channel outlives it."""

    def __init__(self, bank: Caller, running: AsyncExitStack) -> None:
        self.bank = bank
        self._running = running

    async def stop(self) -> float:
        """How many seconds it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self._running.aclose()
        return loop.time() - started


@pytest.fixture
async def stoppable(settings: Settings) -> AsyncIterator[Stoppable]:
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(serving(settings))
        async with Caller(server.address) as bank:
            yield Stoppable(bank, running)


async def test_each_watch_gets_its_last_token_and_then_the_reason(stoppable: Stoppable) -> None:
    bank = stoppable.bank
    opened = await bank.open()
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
    seen = [await watch.read()]
    while not seen[-1].caught_up:
        seen.append(await watch.read())
    stopping = asyncio.create_task(stoppable.stop())

    last = await watch.read()
    assert last.signal == feed_pb2.FEED_SIGNAL_CLOSING
    assert last.resume_token == opened.consistency_token
    told = await refused(watch.read())
    assert told.code is StatusCode.UNAVAILABLE
    assert told.reason == "SERVER_DRAINING"
    assert told.metadata == {"resumeToken": last.resume_token}
    assert "RetryInfo" in told.details
    await stopping


async def test_a_call_under_way_is_answered(stoppable: Stoppable, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = stoppable.bank
    account_id = (await bank.open()).account.account_id
    entered = asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        entered.set()
        await asyncio.sleep(0.3)
        return await deposit(*arguments)

    monkeypatch.setattr("openbank.rpc.accounts.deposit", slowly)
    call = asyncio.create_task(bank.deposit(account_id, "1"))
    await entered.wait()
    seconds = await stoppable.stop()

    assert (await call).account.revision == 2
    assert 0.25 < seconds < 3


async def test_idle_reflection_and_health_streams_hold_nothing_up(stoppable: Stoppable) -> None:
    channel: Any = stoppable.bank.channel
    health = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    await health.read()
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
    await reflection.write(b"\x3a\x00")
    await reflection.read()
    assert await stoppable.stop() < 2


async def test_a_client_that_reads_nothing_holds_it_up_no_longer_than_the_drain(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("openbank.rpc.accounts.deposit", never)
    short = Settings(listen=settings.listen, data=settings.data, drain_seconds=0.5)
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(serving(short))
        async with Caller(server.address) as bank:
            call = asyncio.create_task(refused(bank.deposit("a", "1")))
            await asyncio.sleep(0.1)
            assert await Stoppable(bank, running).stop() < 2
            assert (await call).code in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}

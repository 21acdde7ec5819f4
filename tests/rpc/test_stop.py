"""A stop is graceful and short: each call gets its answer or SERVER_DRAINING, each watch its last token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckResponse

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands.accounts import deposit
from openbank.common.v1 import feed_pb2
from openbank.config import Settings
from openbank.rpc.health import NOT_SERVING
from tests.callers import Caller, Refusal, refusal, refused, request_id, until
from tests.rpc.replacing import replace_command


@pytest.fixture(autouse=True)
def goodbye() -> None:
    """Stays as long as it is: these tests have calls on their way to a bank that stops."""


class Stoppable:
    """A bank that the test stops, and a caller whose channel outlives it."""

    def __init__(self, address: str, bank: Caller, running: AsyncExitStack) -> None:
        self.address = address
        self.bank = bank
        self._running = running
        self._stopping: asyncio.Task[float] | None = None

    def stop(self) -> asyncio.Task[float]:
        """Begins to; the result is how many seconds it took."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        return self._stopping

    async def _stop(self) -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self._running.aclose()
        return loop.time() - started


@pytest.fixture
async def stoppable(settings: Settings) -> AsyncIterator[Stoppable]:
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(serving(settings))
        async with Caller(server.address) as bank:
            stoppable = Stoppable(server.address, bank, running)
            yield stoppable
            # Also where the test has failed: a server that is left behind keeps the process from ending.
            await stoppable.stop()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Deposits wait for it."""
    opened = asyncio.Event()

    async def wait_and_deposit(*arguments: Any) -> Any:
        await opened.wait()
        return await deposit(*arguments)

    replace_command(monkeypatch, "Deposit", wait_and_deposit)
    return opened


def assert_drained(end: Refusal) -> None:
    assert (end.code, end.reason) == (StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert "RetryInfo" in end.details


async def test_each_watch_gets_its_last_token_and_then_the_reason(stoppable: Stoppable) -> None:
    bank = stoppable.bank
    opened = await bank.open()
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
    seen = [await watch.read()]
    while not seen[-1].caught_up:
        seen.append(await watch.read())
    stopping = stoppable.stop()

    last = await watch.read()
    assert last.signal == feed_pb2.FEED_SIGNAL_CLOSING
    assert last.resume_token == opened.consistency_token
    told = await refused(watch.read())
    assert_drained(told)
    assert told.metadata == {"resumeToken": last.resume_token}
    await stopping


async def test_a_call_under_way_is_answered(stoppable: Stoppable, gate: asyncio.Event) -> None:
    bank = stoppable.bank
    account_id = (await bank.open()).account.account_id
    call = asyncio.create_task(bank.deposit(account_id, "1"))
    await asyncio.sleep(0.1)
    stopping = stoppable.stop()
    await asyncio.sleep(0.3)
    assert not stopping.done()
    gate.set()
    assert (await call).account.revision == 2
    assert await stopping < 3


async def test_idle_reflection_and_health_streams_hold_nothing_up_and_learn_the_reason(stoppable: Stoppable) -> None:
    channel: Any = stoppable.bank.channel
    health = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    await health.read()
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
    await reflection.write(b"\x3a\x00")
    await reflection.read()
    stopping = stoppable.stop()

    assert HealthCheckResponse.FromString(await health.read()).status == NOT_SERVING
    for stream in (health, reflection):
        assert_drained(await refused(stream.read()))
    assert await stopping < 2


async def test_new_calls_learn_the_reason_for_as_long_as_an_old_one_is_under_way(
    stoppable: Stoppable, gate: asyncio.Event
) -> None:
    bank = stoppable.bank
    account_id = (await bank.open()).account.account_id
    under_way = asyncio.create_task(bank.deposit(account_id, "1"))
    await asyncio.sleep(0.1)
    stopping = stoppable.stop()
    await asyncio.sleep(0.1)

    async with Caller(stoppable.address) as newcomer:
        for caller in (bank, newcomer):
            assert_drained(await refused(caller.deposit(account_id, "1")))
            assert_drained(await refused(caller.balance(account_id)))
            live = accounts.WatchAccountEventsRequest(live=Empty())
            assert_drained(await refused(caller.accounts.WatchAccountEvents(live).read()))
    gate.set()
    assert (await under_way).account.revision == 2
    await stopping


async def test_an_endless_call_delays_a_stop_only_until_the_drain_ends_and_learns_the_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    async def never(*arguments: object) -> None:
        begun.append(arguments)
        await asyncio.Event().wait()

    monkeypatch.setattr("openbank.rpc.accounts.get_account", never)
    replace_command(monkeypatch, "Deposit", never)
    short = Settings(listen=settings.listen, data=settings.data, drain_seconds=0.5)
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(serving(short))
        async with Caller(server.address) as bank:
            read, repeatable, unrepeatable = (
                asyncio.create_task(refused(call))
                for call in (bank.balance("a"), bank.deposit("a", "1", request_id=request_id()), bank.deposit("a", "1"))
            )
            await until(lambda: len(begun) == 3)
            assert await Stoppable(server.address, bank, running).stop() < 2
            assert_drained(await read)
            assert_drained(await repeatable)
            # A caller may only be asked to repeat what it can repeat safely.
            told = await unrepeatable
            assert (told.code, told.reason) == (StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
            assert "RetryInfo" not in told.details


async def test_callers_that_call_without_a_pause_all_learn_the_reason_until_the_end(
    stoppable: Stoppable,
) -> None:
    account_id = (await stoppable.bank.open()).account.account_id
    refusals: list[Refusal] = []

    async def call_until_nobody_is_there(caller: Caller) -> None:
        while True:
            try:
                await caller.deposit(account_id, "1")
                await caller.balance(account_id)
            except grpc.aio.AioRpcError as error:
                refusals.append(refusal(error))
                if not refusals[-1].details:
                    return

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            caller = await stack.enter_async_context(Caller(stoppable.address))
            for _ in range(8):
                tasks.create_task(call_until_nobody_is_there(caller))
        await asyncio.sleep(0.3)
        await stoppable.stop()
    assert {told.code for told in refusals} == {StatusCode.UNAVAILABLE}
    learned = [told for told in refusals if told.details]
    assert len(learned) >= 32
    for told in learned:
        assert_drained(told)

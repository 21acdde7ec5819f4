"""Health describes the whole, each service and each side, from before the start until after the end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.app import serving
from openbank.config import Settings
from openbank.rpc.calls import Calls
from openbank.rpc.health import NOT_SERVING, SERVICE_UNKNOWN, SERVING, Health, handlers
from tests.callers import Caller

PARTS = [
    "",
    "openbank.commands",
    "openbank.queries",
    "openbank.feeds",
    "openbank.version",
    "openbank.persons.v1.PersonsService",
    "openbank.accounts.v1.AccountsService",
]


@pytest.mark.parametrize("part", PARTS)
async def test_every_part_of_a_bank_that_is_ready_serves(bank: Caller, part: str) -> None:
    stub: Any = HealthStub(bank.channel)
    watch = stub.Watch(HealthCheckRequest(service=part))
    async with asyncio.timeout(5):
        while (await watch.read()).status != SERVING:
            pass
    watch.cancel()
    assert (await stub.Check(HealthCheckRequest(service=part))).status == SERVING


async def test_an_unknown_part_is_not_found(bank: Caller) -> None:
    stub: Any = HealthStub(bank.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(HealthCheckRequest(service="openbank.gold"))
    assert caught.value.code() is StatusCode.NOT_FOUND
    watch = stub.Watch(HealthCheckRequest(service="openbank.gold"))
    assert (await watch.read()).status == SERVICE_UNKNOWN
    watch.cancel()


async def test_a_bank_that_stops_informs_its_watchers_first(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        running = AsyncExitStack()
        server = await running.enter_async_context(serving(settings))
        bank = await stack.enter_async_context(Caller(server.address))
        stub: Any = HealthStub(bank.channel)
        watch = stub.Watch(HealthCheckRequest())
        while (await watch.read()).status != SERVING:
            pass
        stopping = asyncio.create_task(running.aclose())
        assert (await watch.read()).status == NOT_SERVING
        await stopping


async def test_every_watcher_sees_every_change_also_when_another_leaves() -> None:
    health = Health("part")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(health, Calls(10)),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = HealthStub(channel)
        first, second = (stub.Watch(HealthCheckRequest(service="part")) for _ in range(2))
        assert (await first.read()).status == (await second.read()).status == NOT_SERVING
        first.cancel()
        for serving_ in (True, False, True):
            health.set("part", serving_)
            assert (await second.read()).status == (SERVING if serving_ else NOT_SERVING)
        second.cancel()
    await server.stop(None)


async def test_draining_is_for_good() -> None:
    health = Health("part")
    health.set("part", True)
    health.drain()
    health.set("part", True)
    assert health.status("part") == NOT_SERVING

"""Answers that can wait for the end of a burst of calls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.config import Settings
from openbank.rpc.backlog import SLICE, Backlog
from openbank.rpc.calls import Calls
from openbank.rpc.handlers import Methods
from openbank.rpc.health import EVERYTHING, Health
from openbank.server import Server


async def arrive(backlog: Backlog, until: asyncio.Event) -> None:
    """Calls that arrive one after another, as grpc.aio takes them up."""
    while not until.is_set():
        backlog.arrived += 1
        await asyncio.sleep(0)


async def test_an_answer_waits_for_the_end_of_the_burst() -> None:
    backlog, ended = Backlog(), asyncio.Event()
    burst = asyncio.create_task(arrive(backlog, ended))
    answer = asyncio.create_task(backlog.wait())
    await asyncio.sleep(0.01)
    assert not answer.done()
    ended.set()
    await burst
    await answer


async def test_a_call_of_any_method_belongs_to_a_burst_once_grpc_takes_it_up() -> None:
    calls = Calls(maximum=1)
    server = Server(Settings(listen="127.0.0.1:0"), Health(EVERYTHING), calls)
    server.add(Methods({}, calls.backlog))
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        health: Any = HealthStub(channel)
        await health.Check(HealthCheckRequest())
        assert calls.backlog.arrived == 1
        unknown: Any = channel.unary_unary("/no.such.Service/Method")
        with pytest.raises(grpc.aio.AioRpcError):
            await unknown(b"")
        assert calls.backlog.arrived == 2
    await server.stop(nothing)


async def nothing() -> None: ...


async def test_an_endless_burst_does_not_stop_answers() -> None:
    backlog, ended = Backlog(), asyncio.Event()
    burst = asyncio.create_task(arrive(backlog, ended))
    async with asyncio.timeout(10):
        await asyncio.gather(*(backlog.wait() for _ in range(SLICE + 1)))
    ended.set()
    await burst


async def test_answers_leave_in_the_order_in_which_they_came() -> None:
    backlog = Backlog()
    left: list[int] = []

    async def answer(number: int) -> None:
        await backlog.wait()
        left.append(number)

    await asyncio.gather(*(answer(number) for number in range(3 * SLICE)))
    assert left == list(range(3 * SLICE))


async def test_a_caller_who_leaves_is_not_waited_for() -> None:
    backlog = Backlog()
    gone, stays = asyncio.create_task(backlog.wait()), asyncio.create_task(backlog.wait())
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(10):
        await stays
        await backlog.wait()

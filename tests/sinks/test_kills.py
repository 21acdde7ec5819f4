"""The bank, what it sends to, and what reads from there, each killed at random under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.callers import Caller
from tests.faults.driver import Driver
from tests.servers import ServerProcess
from tests.sinks.processes import HttpReceiver, NatsConsumer, arrived, assert_in_order, recorded
from tests.stand_ins.nats import NatsProcess

KILLS = 12
SEED = 7
DOWN_SECONDS_MAX = 0.3
REQUESTS_BETWEEN_KILLS = 10


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_every_event_arrives_in_order_for_each_aggregate_whatever_is_killed(
    tmp_path: Path, nats_server: NatsProcess, stack: ExitStack
) -> None:
    random = Random(SEED)
    single = stack.enter_context(HttpReceiver(tmp_path / "single"))
    batched = stack.enter_context(HttpReceiver(tmp_path / "batched"))
    consumer = stack.enter_context(NatsConsumer(tmp_path / "consumed", nats_server.uri))
    sinks = f"single={single.uri}", f"batched={batched.uri}#mode=batched", f"bus={nats_server.uri}"
    flags = [flag for sink in sinks for flag in ("--sink", sink)]
    bank = ServerProcess(tmp_path / "data", "--sink-retry-seconds-max", "1", *flags)
    await bank.start()
    others: list[HttpReceiver | NatsConsumer | NatsProcess] = [single, batched, consumer, nats_server]

    async with Driver(lambda: [bank.address] if bank.address else [], Random(SEED), 0.02) as driver:
        await driver.begin()
        working = asyncio.ensure_future(driver.work())
        for _ in range(KILLS):
            await driver.acknowledged(REQUESTS_BETWEEN_KILLS)
            victim = random.choice([bank, *others])
            if isinstance(victim, ServerProcess):
                await victim.kill()
                await victim.start()
            else:
                victim.kill()
                await asyncio.sleep(random.uniform(0, DOWN_SECONDS_MAX))
                await asyncio.to_thread(victim.start)
        driver.stop()
        await working

    async with Caller(bank.address) as caller:
        events = await recorded(caller)
    assert len(events) > KILLS * REQUESTS_BETWEEN_KILLS // 2
    for receiver in (single, batched, consumer):
        await arrived(receiver, events)
        assert set(receiver.received) == events
        assert_in_order(receiver.received)
    assert await bank.stop() == 0

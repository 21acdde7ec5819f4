"""The bank, what it sends to, and what reads from there, each killed at random under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.callers import Caller
from tests.faults.driver import Driver
from tests.faults.governor import SOON_SECONDS
from tests.servers import ServerProcess
from tests.sinks.processes import HttpReceiver, NatsConsumer, Recorder, arrived, assert_in_order, recorded, serving
from tests.stand_ins.nats import NatsProcess

KILLS = 8
SEED = 7
DOWN_SECONDS_MAX = 0.3
REQUESTS_BETWEEN_KILLS = 10

Victim = ServerProcess | Recorder | NatsProcess


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_http_receivers_get_every_event_in_order_despite_kills(tmp_path: Path, stack: ExitStack) -> None:
    single = stack.enter_context(HttpReceiver(tmp_path / "single"))
    batched = stack.enter_context(HttpReceiver(tmp_path / "batched"))
    await kill_and_compare(tmp_path, [f"single={single.uri}", f"batched={batched.uri}#mode=batched"], [single, batched])


async def test_a_jetstream_consumer_gets_every_event_in_order_despite_kills(
    tmp_path: Path, nats_server: NatsProcess, stack: ExitStack
) -> None:
    consumer = stack.enter_context(NatsConsumer(tmp_path / "consumed", nats_server.uri))
    await kill_and_compare(tmp_path, [f"bus={nats_server.uri}"], [consumer], nats_server)


async def kill_and_compare(
    directory: Path, sinks: Sequence[str], receivers: Sequence[Recorder], *others: NatsProcess
) -> None:
    """Under load, then each receiver's record is the log."""
    flags = [flag for sink in sinks for flag in ("--sink", sink)]
    async with serving(directory / "data", "--sink-retry-seconds-max", "1", *flags) as bank:
        last = await kill_under_load(bank, [bank, *receivers, *others])
        async with Caller(bank.address) as caller:
            events = await recorded(caller, last)
        assert len(events) > KILLS * REQUESTS_BETWEEN_KILLS // 2
        for receiver in receivers:
            await arrived(receiver, events)
            assert set(receiver.received) == events
            assert_in_order(receiver.received)
        assert await bank.stop() == 0


async def kill_under_load(bank: ServerProcess, victims: Sequence[Victim]) -> str:
    """The token of the last write."""
    random = Random(SEED)
    async with Driver(lambda: [bank.address] if bank.address else [], Random(SEED), 0.02) as driver:
        # No event comes by itself after the last word.
        driver.governor.ttls = (SOON_SECONDS,)
        await driver.begin()
        working = asyncio.ensure_future(driver.work())
        for kill in range(KILLS):
            await driver.acknowledged(REQUESTS_BETWEEN_KILLS)
            # Each at least once.
            await kill_and_start(victims[kill] if kill < len(victims) else random.choice(victims), random)
        driver.stop()
        await working
        return await driver.last_word()


async def kill_and_start(victim: Victim, random: Random) -> None:
    if isinstance(victim, ServerProcess):
        await victim.kill()
        await victim.start()
    else:
        victim.kill()
        await asyncio.sleep(random.uniform(0, DOWN_SECONDS_MAX))
        await asyncio.to_thread(victim.start)

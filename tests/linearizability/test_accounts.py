"""Accounts under many clients at once: every history of them can be explained by one order of what they did."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from openbank.app import serving
from openbank.common.v1.money_pb2 import Money
from tests.back_ends import BackEnd
from tests.callers import Caller, until
from tests.linearizability.checker import verdict
from tests.linearizability.recorder import SECONDS_MAX, Recorder
from tests.servers import ServerProcess
from tests.stand_ins.process import eventstoredb

OPENED_WITH = 100
YEN = Money(currency_code="JPY", units=OPENED_WITH)
OPERATIONS = 300
KILLS = 3
SEEDS = (1, 2, 3)


async def opened(bank: Caller, accounts: int) -> list[str]:
    """The ids of so many."""
    return [(await bank.open(initial_deposit=YEN)).account.account_id for _ in range(accounts)]


async def check(recorder: Recorder) -> Counter[str]:
    """How many there were of each outcome."""
    assert await verdict([OPENED_WITH] * recorder.accounts, recorder.operations) == "linearizable"
    completed = sum(one.kind == "receive" and one.outcome == "done" for one in recorder.operations)
    assert recorder.accounts == 1 or completed > len(recorder.operations) / 20
    return Counter(operation.outcome for operation in recorder.operations)


@pytest.mark.parametrize("seed", SEEDS)
async def test_clients_of_one_bank(bank: Caller, seed: int) -> None:
    recorder = Recorder(await opened(bank, 1 + seed % 2), lambda: [bank], Random(seed))
    await recorder.record(OPERATIONS)
    await recorder.settle()
    outcomes = await check(recorder)
    assert outcomes["done"] > OPERATIONS / 3
    assert outcomes["insufficient"]
    assert outcomes["mismatch"]


async def test_clients_of_a_bank_that_is_killed(process: ServerProcess) -> None:
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(Caller(process.address))]
        recorder = Recorder(await opened(callers[0], 2), lambda: callers[-1:], Random(4))
        for _ in range(KILLS):
            recording = asyncio.create_task(recorder.record(OPERATIONS // KILLS))
            done = len(recorder.operations) + 30
            await until(lambda: len(recorder.operations) > done, SECONDS_MAX)  # noqa: B023
            await process.kill()
            await process.start()
            callers.append(await stack.enter_async_context(Caller(process.address)))
            await recording
            await recorder.settle()
    outcomes = await check(recorder)
    assert outcomes["unknown"]


@pytest.mark.parametrize("seed", SEEDS)
async def test_clients_of_two_instances(seed: int, tmp_path: Path) -> None:
    async with eventstoredb() as server, AsyncExitStack() as stack:
        server.modes.turn_on(seed)
        callers: Sequence[Caller] = [
            await stack.enter_async_context(Caller((await stack.enter_async_context(serving(settings))).address))
            for settings in (BackEnd(event_store=server.uri).settings(tmp_path / name) for name in ("one", "two"))
        ]
        recorder = Recorder(await opened(callers[0], 2), lambda: callers, Random(seed))
        await recorder.record(OPERATIONS)
        await recorder.settle()
    outcomes = await check(recorder)
    assert outcomes["done"] > OPERATIONS / 3

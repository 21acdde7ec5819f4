"""Several instances on the same servers: one of them sends, any of them answers for it, another one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub
from tests.back_ends import BackEnd
from tests.callers import Caller, until
from tests.servers import ServerProcess
from tests.sinks.processes import HttpReceiver, arrived, assert_in_order, recorded
from tests.stand_ins.process import eventstoredb

SENDS = "lease taken: this instance sends to crm"


@pytest.fixture
async def back_end(database: str) -> AsyncIterator[BackEnd]:
    async with eventstoredb() as store:
        yield BackEnd(event_store=store.uri, views=database)


@asynccontextmanager
async def two(back_end: BackEnd, directory: Path, sink: str) -> AsyncIterator[Sequence[ServerProcess]]:
    flags = (*back_end.flags, "--sink", f"crm={sink}")
    both = [ServerProcess(directory / str(number), *flags) for number in range(2)]
    await asyncio.gather(*(process.start() for process in both))
    try:
        yield both
    finally:
        await asyncio.gather(*(process.kill() for process in both))


async def test_one_instance_sends_and_when_it_dies_another_continues(back_end: BackEnd, tmp_path: Path) -> None:
    with HttpReceiver(tmp_path / "received") as receiver:
        async with two(back_end, tmp_path, receiver.uri) as both:
            await until(lambda: any(process.said(SENDS) for process in both), seconds_max=30)
            [sender] = [process for process in both if process.said(SENDS)]
            [other] = [process for process in both if process is not sender]
            async with Caller(other.address) as bank:
                sinks: Any = SinksServiceStub(bank.channel)
                opened = await bank.open()
                account_id = opened.account.account_id
                aggregate = f"account-{account_id}"
                await arrived(receiver, await recorded(bank, opened.consistency_token))

                receiver.kill()
                receiver.refuse((await bank.deposit(account_id, "1")).event_id)
                last = await bank.deposit(account_id, "2")
                await asyncio.to_thread(receiver.start)
                async with asyncio.timeout(30):
                    while not (await sinks.ListSinks(messages.ListSinksRequest())).sinks[0].parked_count:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                receiver.refuse()
                await sinks.RetryParked(messages.RetryParkedRequest(sink="crm", aggregate=aggregate))
                await arrived(receiver, await recorded(bank, last.consistency_token))

                await sender.kill()
                last = await bank.deposit(account_id, "3")
                await arrived(receiver, await recorded(bank, last.consistency_token))
                assert len(other.said(SENDS)) == 1
                assert_in_order(receiver.received)

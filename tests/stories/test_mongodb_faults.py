"""MongoDB fails in the ways that a replica set does, under two instances: callers see refusals that say when to try
again, or the right answer, and afterwards everything is there once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError
from pymongo import MongoClient

from openbank.app import serving
from openbank.sinks import address
from tests.back_ends import BackEnd
from tests.callers import Caller, refusal, request_id
from tests.sinks.processes import HttpReceiver, arrived, assert_in_order, recorded
from tests.stand_ins.mongo_copy import Documents, copy_of, put_back
from tests.stand_ins.mongo_set import NOT_WRITABLE_PRIMARY, PRIMARY_STEPPED_DOWN, READS, WRITES, MongoSet, mongo_set
from tests.stand_ins.process import eventstoredb

BACK_SECONDS_MAX = 20.0
UNNOTICED_SECONDS_MAX = 2.0
"""How long the bank may fail to notice that the database is an older one: 0.5 s on an idle machine."""
REASONS = {"STORE_UNAVAILABLE", "VIEW_BEHIND"}

Happens = Callable[[MongoSet, Documents, "Clients"], Awaitable[None]]


async def fail_over(database: MongoSet, _: Documents, clients: Clients) -> None:
    for code in (NOT_WRITABLE_PRIMARY, PRIMARY_STEPPED_DOWN):
        database.fail("refuse", *READS, *WRITES, times=4, code=code)
        database.fail("write_concern", *WRITES, times=2, code=code)
    database.fail("cut_after", *WRITES, times=2)
    await clients.paid(10)
    database.elect(None)
    await clients.paid(10)
    database.elect(1)
    await clients.paid(10)


async def lose_connections(database: MongoSet, _: Documents, clients: Clients) -> None:
    database.lose_connections()
    await clients.paid(10)


async def pause(database: MongoSet, _: Documents, clients: Clients) -> None:
    database.pause()
    await clients.paid(20)
    database.resume()


async def empty(_: MongoSet, documents: Documents, clients: Clients) -> None:
    await asyncio.to_thread(documents.client.drop_database, documents.name)
    await clients.paid(10)


async def become_older(_: MongoSet, documents: Documents, clients: Clients) -> None:
    kept = await asyncio.to_thread(copy_of, documents)
    await clients.paid(20)
    await asyncio.to_thread(put_back, documents, kept)
    await clients.paid(10)


@pytest.fixture
def documents(mongo_java_server: str) -> Iterator[Documents]:
    with MongoClient[dict[str, Any]](mongo_java_server) as client:
        yield client[f"openbank_test_{secrets.token_hex(4)}"]


@pytest.fixture
async def database(mongo_java_server: str) -> AsyncIterator[MongoSet]:
    async with mongo_set(mongo_java_server) as database:
        yield database


@pytest.mark.parametrize("happens", [fail_over, lose_connections, pause, empty, become_older], ids=lambda f: f.__name__)
async def test_callers_may_try_again_and_nothing_is_lost_or_doubled(
    happens: Happens, database: MongoSet, documents: Documents, tmp_path: Path
) -> None:
    with HttpReceiver(tmp_path / "received") as receiver:
        sink = address.parse(f"crm={receiver.uri}#start=live")
        async with eventstoredb() as events, AsyncExitStack() as stack:
            back_end = BackEnd(events.uri, database.uri(documents.name))
            banks = []
            for number in range(2):
                settings = back_end.settings(tmp_path / str(number), view_wait_seconds=1.0, sink=(sink,))
                server = await stack.enter_async_context(serving(settings))
                banks.append(await stack.enter_async_context(Caller(server.address)))
            async with calling(banks) as clients:
                await clients.paid(10)
                await happens(database, documents, clients)
                await clients.answered()
            assert not clients.stale or (
                happens is become_older and clients.stale[-1] - clients.stale[0] < UNNOTICED_SECONDS_MAX
            )
            for bank in banks:
                assert await bank.balance(clients.account_id, clients.token) == f"{clients.count}.00 USD"
            await arrived(receiver, await recorded(banks[0], clients.token), seconds_max=BACK_SECONDS_MAX)
            assert_in_order(receiver.received)


class Clients:
    """One pays a dollar at a time, one a bank reads what must be there."""

    def __init__(self, banks: list[Caller], account_id: str, token: str) -> None:
        self.account_id = account_id
        self.token = token
        self.count = 0
        self.stale: list[float] = []
        """When an answer had less than its token promised."""
        self.over = False
        """Whether the payer is to make no more payments. One that is under way would be cancelled, yet made."""
        self._banks = banks
        self._answers = [0] * len(banks)

    async def pay(self) -> None:
        while not self.over:
            # Writes need no views: none is refused.
            paid = await self._banks[0].deposit(self.account_id, "1", request_id=request_id())
            self.count, self.token = self.count + 1, paid.consistency_token
            await asyncio.sleep(0.02)

    async def read(self, number: int) -> None:
        bank = self._banks[number]
        while True:
            known, token = self.count, self.token
            try:
                balance = await bank.balance(self.account_id, token)
                if int(balance.partition(".")[0]) < known:
                    self.stale.append(time.monotonic())
                # A call without a token finds it too.
                await bank.balance(self.account_id)
                self._answers[number] += 1
            except AioRpcError as error:
                told = refusal(error)
                assert (told.code, told.reason in REASONS) == (StatusCode.UNAVAILABLE, True), told
                assert "RetryInfo" in told.details
            await asyncio.sleep(0.02)

    async def paid(self, times: int) -> None:
        goal = self.count + times
        await self._until(lambda: self.count >= goal)

    async def answered(self) -> None:
        """By every bank, after what has happened."""
        goals = [answers + 2 for answers in self._answers]
        await self._until(lambda: all(answers >= goal for answers, goal in zip(self._answers, goals, strict=True)))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BACK_SECONDS_MAX):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)


@asynccontextmanager
async def calling(banks: list[Caller]) -> AsyncIterator[Clients]:
    opened = await banks[0].open()
    clients = Clients(banks, opened.account.account_id, opened.consistency_token)
    paying = asyncio.create_task(clients.pay())
    reading = [asyncio.create_task(clients.read(number)) for number in range(len(banks))]
    try:
        yield clients
    finally:
        clients.over = True
        for task in reading:
            task.cancel()
        paid, *outcomes = await asyncio.gather(paying, *reading, return_exceptions=True)
    assert paid is None
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes

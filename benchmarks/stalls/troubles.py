"""What one caller does to a bank that others use. Each lasts for about as many seconds as it is given."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import messages
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.batches.v1.batches_service_pb2 import ExecuteBatchRequest
from openbank.batches.v1.batches_service_pb2_grpc import BatchesServiceStub
from openbank.eventstore.sqlite import FILE as EVENTS
from openbank.operations.v1.views_service_pb2 import StartRebuildRequest
from openbank.operations.v1.views_service_pb2_grpc import ViewsServiceStub
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub
from openbank.views.sqlite import FILE as VIEWS

LARGE = 1_000_000
LONG_ACCOUNT = 0
SHORT_ACCOUNT = 99_999


class Scene(NamedTuple):
    channel: Any
    data: Path
    seconds: float

    @property
    def accounts(self) -> Any:
        return AccountsServiceStub(self.channel)

    @property
    def batches(self) -> Any:
        return BatchesServiceStub(self.channel)

    @property
    def persons(self) -> Any:
        return PersonsServiceStub(self.channel)


Trouble = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    await asyncio.sleep(scene.seconds)


async def deposits(scene: Scene) -> None:
    """What a bank is for, as a second baseline."""
    await _again(scene, 64, lambda: scene.accounts.Deposit(_deposit(SHORT_ACCOUNT)))


async def deposits_beside_a_rebuild(scene: Scene) -> None:
    """An operator has the views rebuilt while the old ones serve."""
    await ViewsServiceStub(scene.channel).StartRebuild(StartRebuildRequest())
    await deposits(scene)


async def unknown_fields(scene: Scene) -> None:
    raw = messages.deposit(SHORT_ACCOUNT, "").SerializeToString() + b"\xf8\x07\x01" * (LARGE // 3)
    call = scene.channel.unary_unary(messages.path("Deposit"))
    await _again(scene, 16, lambda: call(raw))


async def unknown_fields_within_the_limit(scene: Scene) -> None:
    raw = messages.deposit(SHORT_ACCOUNT, "").SerializeToString() + b"\x78\x01" * 8_000
    call = scene.channel.unary_unary(messages.path("Deposit"))
    await _again(scene, 16, lambda: call(raw))


async def long_descriptions(scene: Scene) -> None:
    request = _deposit(SHORT_ACCOUNT)
    request.description = "x" * LARGE
    await _again(scene, 16, lambda: scene.accounts.Deposit(request))


async def atomic_batches(scene: Scene) -> None:
    """All on one account."""

    def batch() -> ExecuteBatchRequest:
        request = messages.atomic(SHORT_ACCOUNT, 500)
        request.request_id = str(uuid4())
        return request

    await _again(scene, 8, lambda: scene.batches.ExecuteBatch(batch()))


async def independent_batches(scene: Scene) -> None:
    """Each of 500 accounts, and tried before."""

    def batch() -> ExecuteBatchRequest:
        request = messages.independent(0, 500)
        for command in request.commands:
            command.deposit.request_id = str(uuid4())
        return request

    async def tried_and_made() -> None:
        request = batch()
        request.validate_only = True
        await scene.batches.ExecuteBatch(request)
        request.validate_only = False
        await scene.batches.ExecuteBatch(request)

    await _again(scene, 8, tried_and_made)


async def waiting_reads(scene: Scene) -> None:
    """1,000 reads that wait for views that are being rebuilt; a deposit must get through."""
    answered = await scene.accounts.Deposit(_deposit(SHORT_ACCOUNT))
    request = messages.get_account(SHORT_ACCOUNT)
    request.consistency_token = answered.consistency_token
    waiting = asyncio.gather(*[_quietly(scene.accounts.GetAccount(request)) for _ in range(1_000)])
    await asyncio.sleep(0.5)
    await scene.accounts.Deposit(_deposit(SHORT_ACCOUNT))
    await waiting


async def replays(scene: Scene) -> None:
    """100 at once, of a request whose event is the last of many."""
    request = _deposit(LONG_ACCOUNT)
    await scene.accounts.Deposit(request)
    await scene.accounts.Deposit(_deposit(LONG_ACCOUNT))
    await asyncio.gather(*[_quietly(scene.accounts.Deposit(request)) for _ in range(100)])


async def full_pages(scene: Scene) -> None:
    """32 at once, of the largest lists."""
    movements = accounts.ListAccountEventsRequest(account_id=messages.account_id(LONG_ACCOUNT), page_size=1_000)
    everybody = persons.ListPersonsRequest(page_size=1_000)
    await asyncio.gather(
        _again(scene, 16, lambda: scene.accounts.ListAccountEvents(movements)),
        _again(scene, 16, lambda: scene.persons.ListPersons(everybody)),
    )


async def full_filters(scene: Scene) -> None:
    """Watches with 2,000 ids each."""
    ids = [f"{number:064}" for number in range(1_000)]
    request = accounts.WatchAccountEventsRequest(live=Empty(), account_ids=ids, owner_ids=ids)

    async def watch() -> None:
        call = scene.accounts.WatchAccountEvents(request)
        await call.read()
        call.cancel()

    await _again(scene, 16, watch)


async def starts_at_a_time(scene: Scene) -> None:
    """Watches from times that only the whole log can tell."""
    times = iter(range(1_700_000_000_000_001, 1_800_000_000_000_000))

    async def watch() -> None:
        request = accounts.WatchAccountEventsRequest()
        request.time.FromMicroseconds(next(times))
        call = scene.accounts.WatchAccountEvents(request)
        await call.read()
        call.cancel()

    await _again(scene, 8, watch)


def lock(file: str) -> Trouble:
    """Another process holds the lock of a file, and deposits continue."""

    async def locked(scene: Scene) -> None:
        with closing(sqlite3.connect(scene.data / file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            await _again(scene, 8, lambda: scene.accounts.Deposit(_deposit(SHORT_ACCOUNT), timeout=scene.seconds))

    return locked


locked_events, locked_views = lock(EVENTS), lock(VIEWS)


async def reads(scene: Scene) -> None:
    await _again(scene, 64, lambda: scene.accounts.GetAccount(messages.get_account(SHORT_ACCOUNT)))


async def _again(scene: Scene, at_once: int, call: Callable[[], Awaitable[object]]) -> None:
    end = time.monotonic() + scene.seconds

    async def go_on() -> None:
        while time.monotonic() < end:
            await _quietly(call())

    await asyncio.gather(*[go_on() for _ in range(at_once)])


async def _quietly(call: Awaitable[object]) -> None:
    with suppress(grpc.aio.AioRpcError):
        await call


def _deposit(account: int) -> accounts.DepositRequest:
    return messages.deposit(account, str(uuid4()))

"""Calls and watches have limits of their own, so that neither keeps the other out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.config import Settings
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.server import OTHER_STREAMS_MAX
from openbank.views.sqlite import SqliteViews
from tests.callers import Caller, refused
from tests.rpc.replacing import replace_command

LIVE = accounts.WatchAccountEventsRequest(live=Empty())


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(listen=settings.listen, data=settings.data, concurrent_calls_max=2, watches_max=2, drain_seconds=1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Deposits wait for it."""
    opened = asyncio.Event()

    async def deposit(*_: Any) -> None:
        await opened.wait()
        raise KeyError

    replace_command(monkeypatch, "Deposit", deposit)
    return opened


async def test_one_call_too_many_is_refused_with_a_reason(bank: Caller, gate: asyncio.Event) -> None:
    waiting = [asyncio.create_task(refused(bank.deposit("a", "1"))) for _ in range(2)]
    await asyncio.sleep(0.1)
    told = await refused(bank.deposit("a", "1"))
    assert told.code is StatusCode.RESOURCE_EXHAUSTED
    assert told.reason == "TOO_MANY_CALLS"
    assert told.metadata == {"maxCount": "2"}
    gate.set()
    await asyncio.gather(*waiting)
    assert (await bank.register()).person.revision == 1


@pytest.fixture
def views_stand_still(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Once a test says so, and until the event is set."""
    go_on = asyncio.Event()
    go_on.set()
    project = SqliteViews.project

    async def projected(views: SqliteViews, *arguments: Any) -> None:
        await go_on.wait()
        await project(views, *arguments)

    monkeypatch.setattr(SqliteViews, "project", projected)
    yield go_on
    go_on.set()


async def test_reads_that_wait_for_their_token_keep_out_neither_commands_nor_other_reads(
    bank: Caller, views_stand_still: asyncio.Event
) -> None:
    account_id = (await bank.open()).account.account_id
    assert await bank.balance(account_id)
    views_stand_still.clear()
    token = (await bank.deposit(account_id, "1")).consistency_token
    waiting = [asyncio.create_task(bank.balance(account_id, token)) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert (await bank.deposit(account_id, "1")).account.revision == 3
    assert await bank.balance(account_id) == "0.00 USD"

    told = await refused(bank.balance(account_id, token))
    assert told.code is StatusCode.RESOURCE_EXHAUSTED
    assert told.reason == "TOO_MANY_CALLS"
    assert told.metadata == {"maxCount": "2"}

    views_stand_still.set()
    assert {await one for one in waiting} <= {"1.00 USD", "2.00 USD"}
    assert await bank.balance(account_id, token)


async def test_reads_keep_no_commands_out(bank: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = (await bank.open()).account.account_id
    go_on = asyncio.Event()

    async def account(*_: Any) -> None:
        await go_on.wait()

    monkeypatch.setattr(SqliteViews, "account", account)
    reading = [asyncio.create_task(refused(bank.balance(account_id))) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert (await refused(bank.balance(account_id))).reason == "TOO_MANY_CALLS"
    assert (await bank.deposit(account_id, "1")).account.revision == 2
    go_on.set()
    assert {(await one).reason for one in reading} == {"ACCOUNT_NOT_FOUND"}


async def test_one_watch_too_many_is_refused_with_a_reason(bank: Caller) -> None:
    watches = [bank.accounts.WatchAccountEvents(LIVE) for _ in range(2)]
    for watch in watches:
        await watch.read()
    told = await refused(bank.accounts.WatchAccountEvents(LIVE).read())
    assert told.code is StatusCode.RESOURCE_EXHAUSTED
    assert told.reason == "TOO_MANY_WATCHES"
    assert told.metadata == {"maxCount": "2"}

    watches[0].cancel()
    await asyncio.sleep(0.1)
    again = bank.accounts.WatchAccountEvents(LIVE)
    assert (await again.read()).resume_token
    for watch in (watches[1], again):
        watch.cancel()


async def test_waves_of_health_and_reflection_streams_are_refused_with_a_reason_and_keep_no_calls_out(
    bank: Caller,
) -> None:
    channel: Any = bank.channel
    health = channel.unary_stream("/grpc.health.v1.Health/Watch")
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    admitted = []
    for _ in range(OTHER_STREAMS_MAX // 2):
        asked = reflection()
        await asked.write(b"\x3a\x00")
        admitted += [health(b""), asked]
    for stream in admitted:
        assert await stream.read()
    for _ in range(2):
        wave = [health(b"") for _ in range(600)] + [reflection() for _ in range(600)]
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            ends = [tasks.create_task(refused(stream.read())) for stream in wave]
        for told in (end.result() for end in ends):
            assert told.code is StatusCode.RESOURCE_EXHAUSTED
            assert told.reason == "TOO_MANY_CALLS"
            assert told.metadata == {"maxCount": str(OTHER_STREAMS_MAX)}
        assert (await bank.register()).person.revision == 1
        watch = bank.accounts.WatchAccountEvents(LIVE)
        assert (await watch.read()).resume_token
        watch.cancel()

    admitted.pop().cancel()
    await asyncio.sleep(0.1)
    again = health(b"")
    assert await again.read()
    for stream in (*admitted, again):
        stream.cancel()


async def test_watches_keep_no_calls_out_and_calls_no_watches(bank: Caller, gate: asyncio.Event) -> None:
    watches = [bank.accounts.WatchAccountEvents(LIVE) for _ in range(2)]
    for watch in watches:
        await watch.read()
    assert (await bank.register()).person.revision == 1
    watches[0].cancel()

    waiting = [asyncio.create_task(refused(bank.deposit("a", "1"))) for _ in range(2)]
    await asyncio.sleep(0.1)
    another = bank.persons.WatchPersonEvents(persons.WatchPersonEventsRequest(live=Empty()))
    assert (await another.read()).resume_token
    gate.set()
    await asyncio.gather(*waiting)
    for watch in (watches[1], another):
        watch.cancel()

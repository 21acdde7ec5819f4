"""A store is away, and comes back: calls that need it fail at once, the rest works, and it recovers by itself."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.rpc.health import NOT_SERVING, SERVING
from tests.back_ends import BackEnd
from tests.callers import Caller, refusal, refused, request_id, until_available, usd
from tests.stand_ins.process import EventStoreDBProcess, FerretDBProcess, Restartable, eventstoredb

AT_ONCE_SECONDS = 2.0
BACK_SECONDS_MAX = 20.0
COMMANDS, QUERIES, FEEDS = "openbank.commands", "openbank.queries", "openbank.feeds"
WHOLE = ("", "openbank.persons.v1.PersonsService", "openbank.accounts.v1.AccountsService")

GoesAway = Callable[[Restartable], None]
ComesBack = Callable[[Restartable], Awaitable[None]]


async def start(store: Restartable) -> None:
    await asyncio.to_thread(store.start)


def freeze(store: Restartable) -> None:
    """As behind a network that drops every packet: no caller gets an error from it."""
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSTOP)


async def thaw(store: Restartable) -> None:
    assert store.pid is not None
    os.kill(store.pid, signal.SIGCONT)


WAYS = {"killed": (Restartable.kill, start), "silent": (freeze, thaw)}


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventStoreDBProcess]:
    with EventStoreDBProcess(tmp_path / "eventstoredb.db") as started:
        yield started


@asynccontextmanager
async def calling(back_end: BackEnd, directory: Path) -> AsyncIterator[Caller]:
    settings = back_end.settings(directory / "data", heartbeat_seconds=0.2, view_wait_seconds=0.5)
    async with serving(settings) as server, Caller(server.address) as bank:
        yield bank


@pytest.mark.parametrize("way", WAYS)
async def test_reads_continue_while_the_event_store_is_away_and_everything_afterwards(
    way: str, events: EventStoreDBProcess, tmp_path: Path
) -> None:
    go_away, come_back = WAYS[way]
    async with calling(BackEnd(events.uri), tmp_path) as bank:
        opened = await bank.open(initial_deposit=usd("5"))
        account_id = opened.account.account_id
        watched = Watched(bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty())))
        assert await watched.revisions(account_id, 1) == [1]
        await bank.balance(account_id, opened.consistency_token)

        go_away(events)
        # What is under way when it happens may take longer: its outcome is asked for.
        await asyncio.gather(bank.deposit(account_id, "1", request_id=request_id()), return_exceptions=True)
        await until_health(bank, COMMANDS, NOT_SERVING)
        named = request_id()
        for _ in range(3):
            told = await at_once(refused(bank.deposit(account_id, "1", request_id=named)))
            assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            # Without a request id, too: surely nothing was written.
            assert (await at_once(refused(bank.deposit(account_id, "1")))).reason == "STORE_UNAVAILABLE"
            assert await at_once(bank.balance(account_id, opened.consistency_token)) == "5.00 USD"
            # Without the log, the bank cannot know that there is no such account.
            assert (await at_once(refused(bank.balance("nobody")))).code is StatusCode.UNAVAILABLE
            watch_now = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
            assert (await at_once(refused(watch_now.read()))).reason == "STORE_UNAVAILABLE"
        assert await health(bank, QUERIES) == SERVING
        # Who follows the log may notice a moment after who appends.
        await until_health(bank, FEEDS, NOT_SERVING)
        assert [await health(bank, part) for part in WHOLE] == [SERVING] * 3

        await come_back(events)
        await until_health(bank, COMMANDS, SERVING)
        await until_health(bank, FEEDS, SERVING)
        paid = await bank.deposit(account_id, "1", request_id=named)
        await until_balance(bank, account_id, paid.consistency_token)
        assert await watched.revisions(account_id, paid.account.revision) == list(range(1, paid.account.revision + 1))
        watched.cancel()


@pytest.mark.parametrize("way", WAYS)
async def test_writes_and_feeds_continue_while_the_views_are_away_and_everything_afterwards(
    way: str, events: EventStoreDBProcess, ferretdb: FerretDBProcess, tmp_path: Path
) -> None:
    go_away, come_back = WAYS[way]
    async with calling(BackEnd(events.uri, f"{ferretdb.uri}/openbank"), tmp_path) as bank:
        opened = await bank.open()
        account_id = opened.account.account_id
        await bank.balance(account_id, opened.consistency_token)
        watched = Watched(bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty())))

        go_away(ferretdb)
        await asyncio.gather(bank.balance(account_id), return_exceptions=True)
        await until_health(bank, QUERIES, NOT_SERVING)
        for amount in range(1, 4):
            paid = await at_once(bank.deposit(account_id, "1", request_id=request_id()))
            assert paid.account.revision == amount + 1
            assert await at_once(watched.revisions(account_id, amount + 1)) == list(range(1, amount + 2))
            from_a_time = accounts.WatchAccountEventsRequest(time=paid.record_time)
            for call in (
                bank.balance(account_id),
                bank.balance(account_id, paid.consistency_token),
                bank.accounts.WatchAccountEvents(from_a_time).read(),
            ):
                told = await at_once(refused(call))
                assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert await health(bank, COMMANDS) == await health(bank, FEEDS) == SERVING
        assert [await health(bank, part) for part in WHOLE] == [SERVING] * 3

        await come_back(ferretdb)
        await until_health(bank, QUERIES, SERVING)
        assert await until_balance(bank, account_id, paid.consistency_token) == "3.00 USD"
        watched.cancel()


async def test_a_bank_without_event_store_and_views_does_not_serve(
    events: EventStoreDBProcess, ferretdb: FerretDBProcess, tmp_path: Path
) -> None:
    async with calling(BackEnd(events.uri, f"{ferretdb.uri}/openbank"), tmp_path) as bank:
        opened = await bank.open()
        await bank.balance(opened.account.account_id, opened.consistency_token)
        events.kill()
        ferretdb.kill()
        for part in (*WHOLE, COMMANDS, QUERIES, FEEDS):
            await until_health(bank, part, NOT_SERVING)
        await start(ferretdb)
        await until_health(bank, QUERIES, SERVING)
        await until_health(bank, "", SERVING)
        assert await bank.balance(opened.account.account_id) == "0.00 USD"
        await start(events)
        await until_health(bank, COMMANDS, SERVING)
        name = request_id()
        await until_available(lambda: bank.deposit(opened.account.account_id, "1", request_id=name))


@pytest.mark.parametrize("kind", ["refuse", "hang"])
async def test_callers_fail_at_once_while_the_event_store_takes_no_appends(
    kind: Any, events: EventStoreDBProcess, tmp_path: Path
) -> None:
    """It answers what is read, so only an append finds out: the first one waits for its outcome."""
    async with calling(BackEnd(events.uri), tmp_path) as bank:
        account_ids = [(await bank.open()).account.account_id for _ in range(10)]
        await asyncio.to_thread(events.faults.add, kind)
        await refused(bank.deposit(account_ids[0], "1", request_id=request_id()))
        names = [request_id() for _ in account_ids]
        for account_id, name in zip(account_ids, names, strict=True):
            told = await at_once(refused(bank.deposit(account_id, "1", request_id=name)))
            assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        await until_health(bank, COMMANDS, NOT_SERVING)
        assert await health(bank, QUERIES) == await health(bank, FEEDS) == SERVING
        assert [await health(bank, part) for part in WHOLE] == [SERVING] * 3

        await asyncio.to_thread(events.faults.clear)
        # Without a caller who tries it.
        await until_health(bank, COMMANDS, SERVING)
        for account_id, name in zip(account_ids, names, strict=True):
            assert (await bank.deposit(account_id, "1", request_id=name)).account.revision == 2


class Watched:
    """What a watch has given so far, and what it gives from now on."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._events: list[Any] = []

    async def revisions(self, account_id: str, last: int) -> list[int]:
        """The revisions of one account, read until there is the last."""
        async with asyncio.timeout(BACK_SECONDS_MAX):
            while True:
                own = [event.revision for event in self._events if event.account_id == account_id]
                if last in own:
                    return own
                self._events += (await self._watch.read()).events

    def cancel(self) -> None:
        self._watch.cancel()


async def at_once(call: Awaitable[Any]) -> Any:
    async with asyncio.timeout(AT_ONCE_SECONDS):
        return await call


async def health(bank: Caller, part: str) -> int:
    stub: Any = HealthStub(bank.channel)
    return int((await stub.Check(HealthCheckRequest(service=part))).status)


async def until_health(bank: Caller, part: str, status: int) -> None:
    async with asyncio.timeout(BACK_SECONDS_MAX):
        while await health(bank, part) != status:  # noqa: ASYNC110 - asked again, as a proxy does
            await asyncio.sleep(0.05)


async def until_balance(bank: Caller, account_id: str, token: str) -> str:
    """As soon as the views are so far."""
    for tries in itertools.count():
        try:
            return await bank.balance(account_id, token)
        except AioRpcError as error:
            assert refusal(error).code is StatusCode.UNAVAILABLE  # noqa: PT017 - it may still be coming back
            assert tries * 0.1 < BACK_SECONDS_MAX
            await asyncio.sleep(0.1)
    raise AssertionError


async def test_200_watches_at_once_are_all_taken_though_the_event_store_is_slow(tmp_path: Path) -> None:
    async with eventstoredb() as events, calling(BackEnd(events.uri), tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        events.modes.pause_seconds, events.modes.pause_chance = 1.5, 0.5
        request = accounts.WatchAccountEventsRequest(beginning=Empty(), account_ids=[account_id])
        watches = [bank.accounts.WatchAccountEvents(request) for _ in range(200)]

        async def first_event(watch: Any) -> int:
            async for response in watch:
                if response.events:
                    return int(response.events[0].revision)
            raise AssertionError("it has ended")

        assert await asyncio.gather(*map(first_event, watches)) == [1] * 200

"""The watch that resumes by itself, at a real bank and through a bad network: no gap and no duplicate."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.client import CHANNEL_OPTIONS, Interruption, watch
from openbank.common.v1 import feed_pb2
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest
from openbank.server import Server
from tests.callers import Caller, refusal, request_id
from tests.client.proxy import Proxy, proxy_of
from tests.servers import ServerProcess

PATIENCE_SECONDS = 20
QUICKLY = (*CHANNEL_OPTIONS, ("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50))


class Follower:
    """A client that keeps what it is given, as one with a database would."""

    def __init__(self, address: str, **request: Any) -> None:
        self._address = address
        self._request = WatchAccountEventsRequest(**(request or {"beginning": Empty()}))
        self._came = asyncio.Event()
        self.responses: list[Any] = []
        self.interruptions: list[Interruption] = []
        self.task: asyncio.Task[None] | None = None

    @property
    def events(self) -> list[Any]:
        return [event for response in self.responses for event in response.events]

    @property
    def confirmations(self) -> int:
        return sum(response.signal == feed_pb2.FEED_SIGNAL_CONFIRMED for response in self.responses)

    async def follow(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=QUICKLY) as channel:
            async for response in watch(channel, self._request, self._interrupted):
                self.responses.append(response)
                self._came.set()

    def _interrupted(self, interruption: Interruption) -> None:
        self.interruptions.append(interruption)
        self._came.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def until_events(self, count: int) -> None:
        await self.until(lambda: len(self.events) >= count)


@asynccontextmanager
async def following(address: str, **request: Any) -> AsyncIterator[Follower]:
    follower = Follower(address, **request)
    async with asyncio.TaskGroup() as tasks:
        follower.task = tasks.create_task(follower.follow())
        yield follower
        follower.task.cancel()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with proxy_of(server.address) as made:
        yield made


async def test_connections_that_are_cut_leave_nothing_out_and_bring_nothing_twice(bank: Caller, proxy: Proxy) -> None:
    account_id = (await bank.open()).account.account_id
    async with following(proxy.address) as follower:
        for count in range(1, 151):
            await bank.deposit(account_id, "1")
            if count % 15 == 0:
                await follower.until_events(count // 2)
                # However fast the bank is: each connection is there before it is cut.
                await follower.until(lambda: follower.confirmations >= count // 15)  # noqa: B023
                proxy.cut()
        await follower.until_events(151)
        assert follower.events == await bank.account_events()
        assert follower.confirmations > 5
        assert all(interruption.why.startswith("UNAVAILABLE: ") for interruption in follower.interruptions)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
async def test_a_proxy_that_answers_for_the_bank_ends_no_watch(bank: Caller, proxy: Proxy, status: int) -> None:
    account_id = (await bank.open()).account.account_id
    async with following(proxy.address) as follower:
        await follower.until_events(1)
        proxy.answer(status)
        await follower.until(lambda: proxy.answered >= 3)
        await bank.deposit(account_id, "1")
        proxy.stop_answering()
        await follower.until_events(2)
        assert follower.events == await bank.account_events()


async def test_a_watch_continues_after_a_stop_and_a_kill_of_the_server(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", listen=f"127.0.0.1:{_free_port()}")
    await process.start()
    try:
        async with Caller(process.address) as bank, following(process.address) as follower:
            account_id = (await bank.open()).account.account_id
            writing = asyncio.create_task(_deposit_until(bank, account_id, lambda: follower.confirmations >= 3))
            await follower.until_events(20)
            await process.stop()
            await process.start()
            await follower.until(lambda: follower.confirmations == 2)
            await process.kill()
            await process.start()
            deposits = await writing
            await follower.until_events(deposits + 1)
            assert follower.events == await bank.account_events()
            assert any("the server is stopping" in interruption.why for interruption in follower.interruptions)
    finally:
        await process.stop()


async def test_a_quiet_connection_is_kept_and_a_dead_one_given_up(bank: Caller, proxy: Proxy) -> None:
    account_id = (await bank.open()).account.account_id
    async with following(proxy.address, live=Empty(), heartbeat_interval=Duration(seconds=1)) as follower:
        await follower.until(lambda: len(follower.responses) == 2)
        assert follower.responses[-1].signal == feed_pb2.FEED_SIGNAL_HEARTBEAT
        assert not follower.interruptions
        proxy.mute()
        await bank.deposit(account_id, "1")
        await follower.until(lambda: bool(follower.interruptions))
        assert follower.interruptions[0].why == "no heartbeat for 3 s"
        proxy.unmute()
        await follower.until_events(1)
        assert [event.revision for event in follower.events] == [2]


async def test_it_ends_where_the_request_says_so(bank: Caller) -> None:
    registered = await bank.register()
    request = WatchPersonEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    responses = [response async for response in watch(bank.channel, request)]
    assert [event.person_id for response in responses for event in response.events] == [registered.person.person_id]
    assert responses[-1].caught_up
    assert responses[-1].resume_token == registered.consistency_token
    again = WatchPersonEventsRequest(resume_token=responses[-1].resume_token, stop_when_caught_up=True)
    assert [event async for response in watch(bank.channel, again) for event in response.events] == []


async def test_integration_events_are_watched_alike(bank: Caller) -> None:
    opened = await bank.open()
    request = WatchCloudEventsRequest(beginning=Empty(), stop_when_caught_up=True, event_types=["account.opened.v1"])
    responses = [response async for response in watch(bank.channel, request)]
    assert [event.id for response in responses for event in response.events] == [opened.event_id]
    assert responses[-1].resume_token == opened.consistency_token


async def test_an_error_that_a_retry_cannot_change_is_raised(bank: Caller) -> None:
    request = WatchAccountEventsRequest(beginning=Empty(), owner_ids=["a b"])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(watch(bank.channel, request))
    assert refusal(caught.value).violations == {"owner_ids[0]": "INVALID_ID"}


async def test_a_caller_may_give_up_waiting() -> None:
    def give_up(interruption: Interruption) -> None:
        if interruption.failures == 3:
            raise ConnectionError(interruption.why)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{_free_port()}", options=QUICKLY) as channel:
        with pytest.raises(ConnectionError, match=r"UNAVAILABLE: .*Connection refused"):
            await anext(watch(channel, WatchAccountEventsRequest(live=Empty()), give_up))


async def test_the_callers_request_stays_as_it_was(bank: Caller) -> None:
    request = WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    before = request.SerializeToString()
    async for _ in watch(bank.channel, request):
        pass
    assert request.SerializeToString() == before


async def _deposit_until(bank: Caller, account_id: str, condition: Callable[[], bool]) -> int:
    """Deposits until a while after `condition`, each of them once whatever becomes of the bank. How many."""
    deposits = left = 0
    while left < 20:
        name = request_id()
        while True:
            try:
                await bank.deposit(account_id, "1", request_id=name)
                break
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - how a bank that is away looks
                await asyncio.sleep(0.05)
        deposits += 1
        left += condition()
        await asyncio.sleep(0.005)
    return deposits


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""Clients may ping to find out whether the bank is still there; one that does nothing else is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from openbank import server as serving
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.client import CHANNEL_OPTIONS, Interruption, watch
from openbank.server import Server
from tests.client.proxy import Proxy, proxy_of

SECOND = 1_000
"""No gRPC client pings more often, even if configured to."""
PINGS = 5
PING_BYTES = 17
"""The size of the HTTP/2 frame."""
QUIET = WatchAccountEventsRequest(live=Empty(), heartbeat_interval=Duration(seconds=300))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank that lets clients ping more often than others do, so that the test need not take minutes."""
    monkeypatch.setattr(serving, "PING_MILLISECONDS_MIN", SECOND // 2)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with proxy_of(server.address) as made:
        yield made


def pinging(milliseconds: int) -> Sequence[tuple[str, int]]:
    """The helper's own options, but for how often."""
    return [*(option for option in CHANNEL_OPTIONS if "keepalive_time" not in option[0]),
            ("grpc.keepalive_time_ms", milliseconds)]  # fmt: skip


def test_the_helpers_channel_pings_less_often_than_the_bank_allows() -> None:
    assert dict(CHANNEL_OPTIONS)["grpc.keepalive_time_ms"] >= 2 * serving.PING_MILLISECONDS_MIN


@pytest.mark.usefixtures("soon")
async def test_a_quiet_client_that_pings_as_often_as_allowed_stays(proxy: Proxy) -> None:
    async with grpc.aio.insecure_channel(proxy.address, options=pinging(SECOND)) as channel:
        stub: Any = AccountsServiceStub(channel)
        call = stub.WatchAccountEvents(QUIET)
        await call.read()
        received = proxy.received
        reading = asyncio.ensure_future(call.read())
        async with asyncio.timeout(30):
            while proxy.received < received + PINGS * PING_BYTES:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        assert not reading.done()
        assert proxy.connections == 1
        call.cancel()
        await asyncio.wait([reading])


async def test_a_client_that_pings_far_more_often_is_sent_away_and_may_come_back(proxy: Proxy) -> None:
    interruptions: list[Interruption] = []
    confirmed = 0
    async with (
        asyncio.timeout(30),
        grpc.aio.insecure_channel(proxy.address, options=pinging(SECOND)) as channel,
    ):
        async for _ in watch(channel, QUIET, interruptions.append):
            confirmed += 1
            if confirmed == 2:
                break
    assert interruptions[0].why.startswith("UNAVAILABLE")
    assert "too many pings" in interruptions[0].why.lower().replace("_", " ")
    assert proxy.connections >= 2

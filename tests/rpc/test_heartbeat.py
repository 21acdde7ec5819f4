"""Heartbeats come as often as the caller wants, within limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.common.v1 import feed_pb2
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest
from tests.callers import Caller, refused


def feeds(bank: Caller, interval: Duration) -> list[Any]:
    return [
        bank.accounts.WatchAccountEvents(WatchAccountEventsRequest(live=Empty(), heartbeat_interval=interval)),
        bank.persons.WatchPersonEvents(WatchPersonEventsRequest(live=Empty(), heartbeat_interval=interval)),
    ]


async def test_each_watch_has_its_own_interval(bank: Caller) -> None:
    often = feeds(bank, Duration(seconds=1))
    seldom = feeds(bank, Duration(seconds=300))
    for watch in (*often, *seldom):
        assert (await watch.read()).signal == feed_pb2.FEED_SIGNAL_CONFIRMED
    next_of_seldom = [asyncio.ensure_future(watch.read()) for watch in seldom]
    async with asyncio.timeout(5):
        assert {(await watch.read()).signal for watch in often} == {feed_pb2.FEED_SIGNAL_HEARTBEAT}
    assert not any(read.done() for read in next_of_seldom)
    for watch in (*often, *seldom):
        watch.cancel()
    await asyncio.wait(next_of_seldom)


@pytest.mark.parametrize(
    "interval",
    [
        Duration(),
        Duration(nanos=999_999_999),
        Duration(seconds=300, nanos=1),
        Duration(seconds=-1),
        Duration(seconds=5, nanos=-1),
        Duration(seconds=5, nanos=1_000_000_000),
    ],
    ids=str,
)
async def test_more_or_less_often_than_the_limits_is_refused(bank: Caller, interval: Duration) -> None:
    for watch in feeds(bank, interval):
        told = await refused(watch.read())
        assert told.code is StatusCode.INVALID_ARGUMENT
        assert told.violations == {"heartbeat_interval": "INVALID_HEARTBEAT_INTERVAL"}
        assert "1 to 300 seconds" in told.message

"""The watch for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, overload

import grpc

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest, WatchAccountEventsResponse
from openbank.client.resumption import Ended, OnInterruption, Resumption, ended_with, log_interruption
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest, WatchCloudEventsResponse
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest, WatchPersonEventsResponse

CHANNEL_OPTIONS = (
    # By default a channel retries only every two minutes after a while, and calls in between fail at once.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # By default a silent network counts as a connection until the system gives up on it. Missing heartbeats show that a
    # watch is dead, but only keepalive shows that its connection is.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""For the channel of a watch."""


@overload
def watch(
    channel: grpc.aio.Channel, request: WatchAccountEventsRequest, on_interruption: OnInterruption = ...
) -> AsyncGenerator[WatchAccountEventsResponse, None]: ...
@overload
def watch(
    channel: grpc.aio.Channel, request: WatchPersonEventsRequest, on_interruption: OnInterruption = ...
) -> AsyncGenerator[WatchPersonEventsResponse, None]: ...
@overload
def watch(
    channel: grpc.aio.Channel, request: WatchCloudEventsRequest, on_interruption: OnInterruption = ...
) -> AsyncGenerator[WatchCloudEventsResponse, None]: ...
async def watch(
    channel: grpc.aio.Channel, request: Any, on_interruption: OnInterruption = log_interruption
) -> AsyncGenerator[Any, None]:
    """The responses to `request`, each exactly once, through any number of broken connections.

    It ends only when the request's `stop_when_caught_up` is fulfilled. To end it earlier, break out of the loop, cancel
    the task, or use an `asyncio.timeout`. After each interruption the first response is CONFIRMED again. Raises final
    errors as grpc.aio.AioRpcError, and what `on_interruption` raises to give up.
    """
    resumption = Resumption(request, on_interruption)
    while True:
        call = resumption.call(channel)
        try:
            while not isinstance(got := await _read(call, resumption), Ended):
                resumption.took(got)
                yield got
        finally:
            call.cancel()
        if resumption.complete:
            return
        await asyncio.sleep(resumption.interrupted(got))


async def _read(call: Any, resumption: Resumption) -> Any:
    """The next response, or how the call ended."""
    try:
        # Only while we wait: the caller may take any time for a response.
        async with asyncio.timeout(resumption.silence_seconds_max):
            response = await call.read()
    except TimeoutError:
        return resumption.silence
    except grpc.aio.AioRpcError as error:
        return ended_with(error)
    return Ended() if response is grpc.aio.EOF else response

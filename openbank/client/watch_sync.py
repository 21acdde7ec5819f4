"""The watch without asyncio."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any, Self, overload

import grpc

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest, WatchAccountEventsResponse
from openbank.client.resumption import Ended, OnInterruption, Resumption, ended_with, log_interruption
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest, WatchCloudEventsResponse
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest, WatchPersonEventsResponse

GLANCE_SECONDS = 0.5


@overload
def watch_sync(
    channel: grpc.Channel,
    request: WatchAccountEventsRequest,
    stop: threading.Event | None = ...,
    on_interruption: OnInterruption = ...,
) -> Generator[WatchAccountEventsResponse, None, None]: ...
@overload
def watch_sync(
    channel: grpc.Channel,
    request: WatchPersonEventsRequest,
    stop: threading.Event | None = ...,
    on_interruption: OnInterruption = ...,
) -> Generator[WatchPersonEventsResponse, None, None]: ...
@overload
def watch_sync(
    channel: grpc.Channel,
    request: WatchCloudEventsRequest,
    stop: threading.Event | None = ...,
    on_interruption: OnInterruption = ...,
) -> Generator[WatchCloudEventsResponse, None, None]: ...
def watch_sync(
    channel: grpc.Channel,
    request: Any,
    stop: threading.Event | None = None,
    on_interruption: OnInterruption = log_interruption,
) -> Generator[Any, None, None]:
    """The responses to `request`, each exactly once, through any number of broken connections.

    It ends only when the request's `stop_when_caught_up` is fulfilled. To end it earlier, break out of the loop, or set
    `stop` from another thread, such as a `threading.Timer`. After each interruption the first response is CONFIRMED
    again. Raises final errors as grpc.RpcError, and what `on_interruption` raises to give up.
    """
    resumption = Resumption(request, on_interruption)
    stop = stop or threading.Event()
    with _Guard(stop, resumption) as guard:
        while not stop.is_set():
            call = resumption.call(channel)
            try:
                while not isinstance(got := guard.read(call), Ended):
                    resumption.took(got)
                    yield got
            finally:
                call.cancel()
            if resumption.complete or stop.is_set():
                return
            stop.wait(resumption.interrupted(got))


class _Guard:
    """Cancels a call that is silent for too long or should stop, which the thread that waits for a response cannot."""

    def __init__(self, stop: threading.Event, resumption: Resumption) -> None:
        self._stop = stop
        self._resumption = resumption
        self._read: tuple[Any, float] | None = None
        """The current call, and its deadline."""
        self._silent: Any = None
        """The last call that was cancelled for its silence."""
        self._finished = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="openbank-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished = True

    def read(self, call: Any) -> Any:
        """The next response, or how the call ended."""
        self._read = (call, time.monotonic() + self._resumption.silence_seconds_max)
        try:
            # Checked after the assignment: either we see the stop, or the guard sees the call.
            return Ended() if self._stop.is_set() else next(call)
        except StopIteration:
            return Ended()
        except grpc.RpcError as error:
            return self._resumption.silence if call is self._silent else ended_with(error)
        finally:
            self._read = None

    def _look(self) -> None:
        glance = min(GLANCE_SECONDS, self._resumption.silence_seconds_max / 4)
        stopped = False
        while not (self._finished or stopped):
            stopped = self._stop.wait(glance)
            call, until = self._read or (None, 0.0)
            if call is not None and (stopped or time.monotonic() > until):
                self._silent = call
                call.cancel()

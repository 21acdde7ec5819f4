"""What a watch does after an interruption: the same for all kinds, and without a network."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest, WatchAccountEventsResponse
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CONFIRMED
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest, WatchCloudEventsResponse
from openbank.integration.v1.integration_events_service_pb2_grpc import IntegrationEventsServiceStub
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest, WatchPersonEventsResponse
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub

Request = WatchAccountEventsRequest | WatchPersonEventsRequest | WatchCloudEventsRequest
Response = WatchAccountEventsResponse | WatchPersonEventsResponse | WatchCloudEventsResponse

HEARTBEAT_SECONDS = 15
"""What is asked for where the request has no wish."""
SILENT_HEARTBEATS = 3
"""A connection with so many of them missing is taken for dead: a proxy may keep it open for ever."""
BACKOFF_SECONDS_MIN = 0.2
BACKOFF_SECONDS_MAX = 20.0

# The same call would end in the same way. Of all others none is known to be for good: what is a bug in the bank today
# may be mended tomorrow, and proxies answer for servers that are not there with a code of their choice.
FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DATA_LOSS,
    }
)

_log = logging.getLogger("openbank.client")


class Interruption(NamedTuple):
    """A watch has no connection just now."""

    why: str
    """ "UNAVAILABLE: failed to connect", "no heartbeat for 45 s"."""
    failures: int
    """How many there were one after another, this one included."""
    retry_seconds: float
    """When it will be tried again."""


OnInterruption = Callable[[Interruption], None]
"""Told of every interruption. To give up, raise: that ends the watch, and reaches whoever iterates over it."""


def log_interruption(interruption: Interruption) -> None:
    """What is done where the caller has nothing else in mind."""
    _log.warning("watch interrupted: %s; again in %.1f s", interruption.why, interruption.retry_seconds)


class Ended(NamedTuple):
    """A call that has given its last response."""

    why: str = "the server ended the watch"
    error: Any = None
    """The grpc.RpcError, where there is one."""


def ended_with(error: Any) -> Ended:
    return Ended(f"{error.code().name}: {error.details()}", error)


class Resumption:
    """Where a watch is, and how often in a row it has failed to go on from there."""

    def __init__(self, request: Request, on_interruption: OnInterruption) -> None:
        self._request = deepcopy(request)
        if not request.HasField("heartbeat_interval"):
            self._request.heartbeat_interval.seconds = HEARTBEAT_SECONDS
        self._on_interruption = on_interruption
        self._failures = 0
        self._caught_up = False

    @property
    def silence_seconds_max(self) -> float:
        return SILENT_HEARTBEATS * self._request.heartbeat_interval.ToNanoseconds() / 1e9

    @property
    def silence(self) -> Ended:
        return Ended(f"no heartbeat for {self.silence_seconds_max:g} s")

    @property
    def complete(self) -> bool:
        """Whether the watch has come to the end that it was asked for."""
        return self._request.stop_when_caught_up and self._caught_up

    def call(self, channel: Any) -> Any:
        """A call that goes on where the last one was."""
        request = deepcopy(self._request)
        if isinstance(request, WatchAccountEventsRequest):
            return AccountsServiceStub(channel).WatchAccountEvents(request)
        if isinstance(request, WatchPersonEventsRequest):
            return PersonsServiceStub(channel).WatchPersonEvents(request)
        return IntegrationEventsServiceStub(channel).WatchCloudEvents(request)

    def took(self, response: Response) -> None:
        self._request.resume_token = response.resume_token
        self._caught_up = response.caught_up
        # A server that confirms and then fails, again and again, is to be left alone for longer each time.
        if response.signal != FEED_SIGNAL_CONFIRMED:
            self._failures = 0

    def interrupted(self, end: Ended) -> float:
        """How many seconds to wait before the next call. Raises the error for which there is to be none."""
        if end.error is not None and end.error.code() in FINAL:
            raise end.error
        self._failures += 1
        longest = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(self._failures, 32))
        # Half of it by chance: the watches that a server loses together are not to come back together.
        seconds = max(random.uniform(longest / 2, longest), _retry_seconds(end.error))
        self._on_interruption(Interruption(end.why, self._failures, seconds))
        return seconds


def _retry_seconds(error: Any) -> float:
    """What the server asks to wait at least, if it does."""
    retry = error_details_pb2.RetryInfo()
    for key, value in (error.trailing_metadata() if error is not None else None) or ():
        if key == "grpc-status-details-bin":
            any(detail.Unpack(retry) for detail in status_pb2.Status.FromString(value).details)
    return float(retry.retry_delay.ToNanoseconds() / 1e9)

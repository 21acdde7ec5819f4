"""What a watch does after an interruption, without a network: shared by all kinds of watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import grpc

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest, WatchAccountEventsResponse
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.client.backoff import pause_seconds
from openbank.client.errors import BankError, bank_error
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CONFIRMED
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest, WatchCloudEventsResponse
from openbank.integration.v1.integration_events_service_pb2_grpc import IntegrationEventsServiceStub
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest, WatchPersonEventsResponse
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub

WatchRequest = WatchAccountEventsRequest | WatchPersonEventsRequest | WatchCloudEventsRequest
WatchResponse = WatchAccountEventsResponse | WatchPersonEventsResponse | WatchCloudEventsResponse

HEARTBEAT_SECONDS = 15
"""The heartbeat interval if the request sets none."""
SILENT_HEARTBEATS = 3
"""A connection that misses this many heartbeats counts as dead: a proxy may keep it open forever."""
BACKOFF_SECONDS_MIN = 0.2
BACKOFF_SECONDS_MAX = 20.0

FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Final codes, if they come from the bank: the same call would end in the same way. From others no code is final: a
proxy answers for missing servers with a code of its choice, such as UNIMPLEMENTED for HTTP 404."""
UNIMPLEMENTED_SECONDS_MAX = 300.0
"""After this time with no other answer than UNIMPLEMENTED, the server itself lacks the method."""

_log = logging.getLogger("openbank.client")


class Interruption(NamedTuple):
    """A watch currently has no connection."""

    why: str
    """ "UNAVAILABLE: failed to connect", "no heartbeat for 45 s"."""
    failures: int
    """The number of consecutive interruptions, including this one."""
    retry_seconds: float
    """When the next try is."""


OnInterruption = Callable[[Interruption], None]
"""Called at every interruption. To give up, raise: that ends the watch, and reaches the code that iterates over it."""


def log_interruption(interruption: Interruption) -> None:
    """The default: does nothing."""
    _log.warning("watch interrupted: %s; again in %.1f s", interruption.why, interruption.retry_seconds)


class Ended(NamedTuple):
    """A call that has given its last response."""

    why: str = "the server ended the watch"
    error: Any = None
    """The grpc.RpcError, if there is one."""


def ended_with(error: Any) -> Ended:
    why = f"{error.code().name}: {error.details()}"
    if error.code() in FINAL | {grpc.StatusCode.UNIMPLEMENTED} and bank_error(error) is None:
        why += " (not said by the bank: is there a proxy in between, or an older server?)"
    return Ended(why, error)


class Resumption:
    """The place of a watch, and how often in a row it has failed to continue from there."""

    def __init__(self, request: WatchRequest, on_interruption: OnInterruption) -> None:
        self._request = deepcopy(request)
        if not request.HasField("heartbeat_interval"):
            self._request.heartbeat_interval.seconds = HEARTBEAT_SECONDS
        self._on_interruption = on_interruption
        self._failures = 0
        self._caught_up = False
        self._unimplemented_since: float | None = None

    @property
    def silence_seconds_max(self) -> float:
        return SILENT_HEARTBEATS * self._request.heartbeat_interval.ToNanoseconds() / 1e9

    @property
    def silence(self) -> Ended:
        return Ended(f"no heartbeat for {self.silence_seconds_max:g} s")

    @property
    def complete(self) -> bool:
        """Whether the watch has reached the end that the request asks for."""
        return self._request.stop_when_caught_up and self._caught_up

    def call(self, channel: Any) -> Any:
        """A call that continues where the last one was."""
        request = deepcopy(self._request)
        if isinstance(request, WatchAccountEventsRequest):
            return AccountsServiceStub(channel).WatchAccountEvents(request)
        if isinstance(request, WatchPersonEventsRequest):
            return PersonsServiceStub(channel).WatchPersonEvents(request)
        return IntegrationEventsServiceStub(channel).WatchCloudEvents(request)

    def took(self, response: WatchResponse) -> None:
        self._request.resume_token = response.resume_token
        self._unimplemented_since = None
        self._caught_up = response.caught_up
        # A server that confirms and then fails, again and again, is left alone for longer each time.
        if response.signal != FEED_SIGNAL_CONFIRMED:
            self._failures = 0

    def interrupted(self, end: Ended) -> float:
        """How many seconds to wait before the next call. Raises the error if it is final."""
        decision = bank_error(end.error) if end.error is not None else None
        if self._is_final(end.error, decision):
            raise end.error
        self._failures += 1
        seconds = pause_seconds(self._failures, BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX, decision)
        self._on_interruption(Interruption(end.why, self._failures, seconds))
        return seconds

    def _is_final(self, error: Any, decision: BankError | None) -> bool:
        if decision is not None:
            return decision.code in FINAL
        if error is None or error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            self._unimplemented_since = None
            return False
        now = time.monotonic()
        if self._unimplemented_since is None:
            self._unimplemented_since = now
        return now - self._unimplemented_since >= UNIMPLEMENTED_SECONDS_MAX

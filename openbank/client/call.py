"""Sends a call again until the bank has decided."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple
from uuid import uuid4

import grpc

from openbank.client.backoff import pause_seconds
from openbank.client.errors import bank_error

TIMEOUT_SECONDS = 60.0
TRY_SECONDS = 10.0
"""One try may take this long: a connection that has gone silent must not use up all the time."""
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0

# The bank's codes for "later". All its other answers are final.
_LATER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})

_log = logging.getLogger("openbank.client")


class Retry(NamedTuple):
    """A call that is about to be sent again."""

    why: str
    """ "UNAVAILABLE: failed to connect"."""
    failures: int
    retry_seconds: float


OnRetry = Callable[[Retry], None]
"""Called before each wait. To give up, raise."""


def log_retry(retry: Retry) -> None:
    _log.warning("call failed: %s; again in %.1f s", retry.why, retry.retry_seconds)


async def call(
    method: Any, request: Any, *, timeout_seconds: float = TIMEOUT_SECONDS, on_retry: OnRetry = log_retry
) -> Any:
    """Sends `request` by `method` of an asyncio stub, until there is an answer; returns the response.

    A mutation without a request_id gets one, so that it is done once even if it is sent several times. An error that is
    not the bank's decision, and "later" from the bank, are tried again; all tries together take `timeout_seconds`.
    Raises BankError for what the bank refuses; grpc.RpcError if the time ends without the bank's decision.
    """
    tries = _Tries(request, timeout_seconds, on_retry)
    while True:
        try:
            return await method(tries.request, timeout=tries.seconds)
        except grpc.RpcError as error:
            wait = tries.failed(error)
        await asyncio.sleep(wait)


def call_sync(
    method: Any, request: Any, *, timeout_seconds: float = TIMEOUT_SECONDS, on_retry: OnRetry = log_retry
) -> Any:
    """`call`, without asyncio."""
    tries = _Tries(request, timeout_seconds, on_retry)
    while True:
        try:
            return method(tries.request, timeout=tries.seconds)
        except grpc.RpcError as error:
            wait = tries.failed(error)
        time.sleep(wait)


class _Tries:
    def __init__(self, request: Any, timeout_seconds: float, on_retry: OnRetry) -> None:
        self.request = deepcopy(request)
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            self.request.request_id = str(uuid4())
        self._until = time.monotonic() + timeout_seconds
        self._on_retry = on_retry
        self._failures = 0

    @property
    def seconds(self) -> float:
        """For the next try."""
        return min(TRY_SECONDS, max(self._until - time.monotonic(), 0.0))

    def failed(self, error: Any) -> float:
        """How many seconds to wait before the next try. Raises the error if it is final."""
        decision = bank_error(error)
        if decision is not None and decision.code not in _LATER:
            raise decision from error
        self._failures += 1
        seconds = pause_seconds(self._failures, BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX, decision)
        if time.monotonic() + seconds >= self._until:
            raise decision or error
        self._on_retry(Retry(f"{error.code().name}: {error.details()}", self._failures, seconds))
        return seconds

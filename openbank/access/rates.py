"""Limits of callers: calls in a time, and watches at one time. The memory for it is bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, isinf

from openbank.access.caller import Caller
from openbank.access.errors import RateLimited

CALLERS_MAX = 10_000
"""The most callers whose calls are counted. For one more, the one that has not called for longest starts with a full
burst the next time."""
WATCH_RETRY_MS = 5_000
"""When to try again to watch: nobody knows when another watch of the caller ends."""


class Rates:
    """`now` is in seconds, of a clock that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By caller: calls that it has left, below zero after a large batch, and when that was counted."""
        self._watches: dict[str, int] = {}

    def count(self, caller: Caller) -> None:
        """Counts a call. Raises RateLimited, and counts nothing then."""
        self._take(caller, 1, needed=1)

    def count_commands(self, caller: Caller, commands: int) -> None:
        """Counts the commands of a call, which has itself been counted: each as a call, and the first as this one.

        More than the burst need a full burst, and leave the caller in debt: until time has made up for all of them, it
        is refused. So a large batch can be sent, and the rate holds. Raises RateLimited, and the call itself does not
        count then.
        """
        if commands > 1:
            self._take(caller, commands - 1, needed=min(commands, caller.limits.burst) - 1, refund=1)

    def _take(self, caller: Caller, calls: int, needed: float, refund: int = 0) -> None:
        """Takes as many calls if `needed` of them are left. If not, gives `refund` back and raises RateLimited."""
        limits = caller.limits
        if isinf(limits.calls_per_second):
            return
        now = self._now()
        left, since = self._buckets.pop(caller.name, (limits.burst, now))
        left = min(limits.burst, left + (now - since) * limits.calls_per_second)
        if left < needed:
            self._buckets[caller.name] = (left + refund, now)
            retry_ms = ceil(1000 * (needed - left) / limits.calls_per_second)
            raise RateLimited("calls_per_second", limits.calls_per_second, retry_ms)
        if len(self._buckets) >= CALLERS_MAX:
            self._buckets.popitem(last=False)
        self._buckets[caller.name] = (left - calls, now)

    @contextmanager
    def watching(self, caller: Caller) -> Iterator[None]:
        """Counts a watch until the block ends. Raises RateLimited."""
        limit = caller.limits.watches
        if isinf(limit):
            yield
            return
        count = self._watches.get(caller.name, 0)
        if count >= limit:
            raise RateLimited("watches", limit, WATCH_RETRY_MS)
        self._watches[caller.name] = count + 1
        try:
            yield
        finally:
            left = self._watches.pop(caller.name) - 1
            if left:
                self._watches[caller.name] = left

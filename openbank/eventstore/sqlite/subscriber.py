"""What one subscription to the embedded log gets of the commits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import RecordedEvent

BUFFER_EVENTS_MAX = 10_000
"""The most committed events that wait for one subscriber. If there are more, it reads them from the file."""


class Subscriber:
    """Committed events on their way to one subscription. The buffer is bounded, and cleared if the subscription
    lags."""

    def __init__(self) -> None:
        self._events: deque[RecordedEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def push(self, events: Sequence[RecordedEvent]) -> None:
        if len(self._events) + len(events) > BUFFER_EVENTS_MAX:
            self._events.clear()
        self._events.extend(events)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def next(self, after: int) -> Sequence[RecordedEvent] | None:
        """The events committed right after the position `after`; None if some of them must be read from the file."""
        while True:
            while self._events and self._events[0].position <= after:
                self._events.popleft()
            if self._events:
                events = list(self._events)
                self._events.clear()
                return events if events[0].position == after + 1 else None
            if self._closed:
                raise StoreUnavailable("the event store is closed")
            self._wake.clear()
            await self._wake.wait()

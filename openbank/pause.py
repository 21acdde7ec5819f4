"""Three kinds of waits: one that another task may end, one between tries, one that spreads work over turns of the event
loop."""

from __future__ import annotations

import asyncio
import random


class Pause:
    """Waits up to `seconds`, or until `end()`. One task waits at a time."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        alarm = loop.call_later(seconds, self.end)
        try:
            await self._ended
        finally:
            alarm.cancel()

    def end(self) -> None:
        """Ends the wait under way, if there is one."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class Backoff:
    """The seconds between tries: from `seconds_min`, doubled after each failure up to `seconds_max`.

    Jitter takes up to half away, so that instances that fail together do not come back together.
    """

    def __init__(self, seconds_min: float, seconds_max: float) -> None:
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._seconds = 0.0

    def next(self, asked_seconds: float = 0.0) -> float:
        """How long to wait before the next try: at least `asked_seconds`, which the other side asked for."""
        self._seconds = min(max(2 * self._seconds, self._seconds_min), self._seconds_max)
        return max(self._seconds * random.uniform(0.5, 1.0), asked_seconds * random.uniform(1.0, 1.1))

    def reset(self) -> None:
        """Call after a success."""
        self._seconds = 0.0


class Turnstile:
    """Lets one task through in each turn of the event loop.

    Tasks that become ready together would else all run before anybody else: a thousand short pieces of work, or ten
    long ones, add up.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Returns when it is this task's turn. What it then does before its next `await` is a turn's work."""
        async with self._lock:
            await asyncio.sleep(0)

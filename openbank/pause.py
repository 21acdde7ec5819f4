"""A wait that another may end, and one that spreads work over turns of the event loop."""

from __future__ import annotations

import asyncio


class Pause:
    """At most so many seconds: whoever sees that there is nothing left to wait for ends it. One waits at a time."""

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
        """Of the wait under way; where there is none, nothing."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


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

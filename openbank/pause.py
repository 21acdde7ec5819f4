"""A wait that another may end."""

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

"""Waiting until views have reached a position."""

from __future__ import annotations

import asyncio


class Waiters:
    """Wakes each one when its own position is reached, not at every step on the way there: there may be a thousand."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}

    def any_up_to(self, position: int) -> bool:
        """Whether somebody waits for `position` or an earlier one."""
        return any(wanted <= position for wanted in self._waiting)

    async def wait(self, position: int) -> None:
        """Returns after `reached` was called with `position` or a later one."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(position, set())
        waiters.add(waiter)
        try:
            await waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiting.get(position) is waiters:
                del self._waiting[position]

    def reached(self, position: int) -> None:
        for wanted in [wanted for wanted in self._waiting if wanted <= position]:
            for waiter in self._waiting.pop(wanted):
                if not waiter.done():
                    waiter.set_result(None)

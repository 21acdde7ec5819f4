"""Answers that can wait for the end of a burst of calls, so that a call behind the burst is taken up soon.

grpc.aio takes up one call after another, each some turns of the loop after the one before. If each of these turns
answered a call too, a health check behind 1,000 refused reads would be taken up when all have been refused.
"""

from __future__ import annotations

import asyncio
from collections import deque

SLICE = 32
"""Answers that leave together: some 6 ms of work."""
LOOK_SECONDS = 0.002
QUIET_LOOKS = 2
"""The burst is over when no call has arrived between so many looks and one. Between two, background work may have kept
the loop."""
WAIT_SECONDS_MAX = 0.1
"""How long a slice waits for that: a burst that does not end must not stop all answers."""


class Backlog:
    """Calls whose answers wait, first come, first served."""

    def __init__(self) -> None:
        self.arrived = 0
        """Steps of arriving calls so far: each counts when gRPC takes it up, and when it is let in."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._releasing: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Returns at the end of the burst, a slice after those that came before."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release(), name="backlog")
        await turn

    async def _release(self) -> None:
        while self._waiting:
            await self._quiet()
            for _ in range(min(SLICE, len(self._waiting))):
                turn = self._waiting.popleft()
                # Its caller may have left meanwhile.
                if not turn.done():
                    turn.set_result(None)
        self._releasing = None

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_SECONDS_MAX
        quiet = 0
        while quiet < QUIET_LOOKS and loop.time() < until:
            arrived = self.arrived
            await asyncio.sleep(LOOK_SECONDS)
            quiet = quiet + 1 if arrived == self.arrived else 0

"""The calls under way: how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from typing import Any

from openbank.rpc.errors import ServerDraining, TooManyCalls


class Calls:
    """Calls of one kind that share a limit. Watches are not among them: the feed counts its own.

    A stop goes through four steps. `drain`: new calls are refused. `cut`: calls that did not finish in time are
    cancelled. `hold`: new calls wait. `release`: they are refused, at the moment when the server says goodbye to their
    connections; so no caller's next call arrives between its last answer and the goodbye, where gRPC would cancel it
    without a reason.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.draining = False
        self._cut = False
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._none_left = asyncio.Event()
        self._held = 0
        self._released: asyncio.Event | None = None

    def enter(self) -> None:
        """Counts the call, which is the task that runs, until `leave`. Raises TooManyCalls."""
        if len(self._tasks) >= self.maximum:
            raise TooManyCalls(self.maximum)
        self._tasks.add(asyncio.current_task())

    def leave(self) -> None:
        """Does nothing for a call that was refused."""
        self._tasks.discard(asyncio.current_task())
        if self.draining and not self._tasks:
            self._none_left.set()

    async def refuse(self) -> None:
        """Raises ServerDraining for a call that comes while `draining`; first waits as long as calls are held."""
        if self._released and self._held < self.maximum:
            self._held += 1
            try:
                await self._released.wait()
            finally:
                self._held -= 1
        raise ServerDraining

    @property
    def was_cut(self) -> bool:
        """Whether the call's cancellation came from `cut`, not from its caller."""
        return self._cut and asyncio.current_task() in self._tasks

    def drain(self) -> None:
        self.draining = True

    async def finished(self) -> None:
        """Waits until no call is under way. Comes after `drain`."""
        if self._tasks:
            await self._none_left.wait()

    def cut(self) -> None:
        self._cut = True
        for task in self._tasks:
            if task is not None:
                task.cancel()

    def hold(self) -> None:
        self._released = asyncio.Event()

    def release(self) -> None:
        if self._released:
            self._released.set()
            self._released = None

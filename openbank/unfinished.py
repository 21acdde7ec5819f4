"""Work that continues when the call that began it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Value = TypeVar("Value")


class Unfinished:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The result of `work`, which is carried out to its end even if the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def finished(self, seconds_max: float | None = None) -> None:
        """Waits for all that was begun, at most this long; None for however long it takes."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds_max)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # A caller that waits gets the error. Without one, whatever tries the same next meets it.
        if not task.cancelled():
            task.exception()

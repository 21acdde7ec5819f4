"""One question to the server for all callers that ask it at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """Asks one question at a time. Each caller gets the answer to a question asked after it came, never an older one.
    Callers that come while a question is under way share the next."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[Answer] | None = None
        self._next: asyncio.Task[Answer] | None = None

    async def answer(self) -> Answer:
        """Raises what the question raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._asking))
            self._next.add_done_callback(_seen)
        # A caller that gives up does not cancel the question for the others.
        return await asyncio.shield(self._next)

    def close(self) -> None:
        for task in (self._asking, self._next):
            if task is not None:
                task.cancel()

    async def _run(self, before: asyncio.Task[Answer] | None) -> Answer:
        if before is not None:
            await asyncio.wait([before])
        self._asking, self._next = self._next, None
        return await self._ask()


def _seen(asking: asyncio.Task[Answer]) -> None:
    """Retrieves the error if all callers have given up."""
    if not asking.cancelled():
        asking.exception()

"""Questions that do not depend on one another, asked at once: each is a round trip where the store is a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def together(*questions: Awaitable[Any]) -> tuple[Callable[[], Any], ...]:
    """For each question a function, to be called once, that returns its answer or raises what the question raised.

    So the caller decides in which order refusals count.
    """
    return tuple([_opened(answer) for answer in await asyncio.gather(*questions, return_exceptions=True)])


async def nothing() -> None:
    """In the place of a question that need not be asked."""


def _opened(answer: Any) -> Callable[[], Any]:
    held = [answer]

    def open_answer() -> Any:
        # Held no longer: an exception that the frames of its traceback hold would keep them all in memory.
        taken = held.pop()
        try:
            if isinstance(taken, BaseException):
                raise taken
            return taken
        finally:
            del taken

    del answer
    return open_answer

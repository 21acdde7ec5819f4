"""Work that runs beside the rest of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

_log = logging.getLogger(__name__)


@asynccontextmanager
async def background(name: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs beside the block, and is cancelled at its end. If it ends before that, the log and health report it."""
    task = asyncio.create_task(_logged(name, work), name=name)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _logged(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
        _log.error("%s has stopped", name)
    except Exception:
        _log.exception("%s has failed", name)

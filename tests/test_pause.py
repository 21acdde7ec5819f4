"""A wait that another may end."""

from __future__ import annotations

import asyncio

from openbank.pause import Pause

SHORT, LONG = 0.001, 3_600.0
PATIENCE_SECONDS = 10.0


async def test_it_ends_by_itself() -> None:
    await asyncio.wait_for(Pause().wait(SHORT), PATIENCE_SECONDS)


async def test_another_ends_it() -> None:
    pause = Pause()
    waiting = await begin(pause, LONG)
    pause.end()
    pause.end()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def test_an_end_is_of_the_wait_under_way_alone() -> None:
    pause = Pause()
    pause.end()
    for _ in range(2):
        waiting = await begin(pause, LONG)
        assert not waiting.done()
        pause.end()
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        pause.end()


async def test_one_that_is_cancelled_does_not_end_the_next() -> None:
    pause = Pause()
    cancelled = await begin(pause, SHORT)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    waiting = await begin(pause, LONG)
    # Begun after the one that was cancelled, and so over after that would have been.
    await Pause().wait(SHORT)
    assert not waiting.done()
    pause.end()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def begin(pause: Pause, seconds: float) -> asyncio.Task[None]:
    waiting = asyncio.create_task(pause.wait(seconds))
    await asyncio.sleep(0)
    return waiting

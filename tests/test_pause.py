"""A wait that another may end."""

from __future__ import annotations

import asyncio

from openbank.pause import Pause, Turnstile

SHORT, LONG = 0.001, 3_600.0
PATIENCE_SECONDS = 10.0


async def test_it_ends_by_itself() -> None:
    await asyncio.wait_for(Pause().wait(SHORT), PATIENCE_SECONDS)


async def test_another_task_ends_the_wait() -> None:
    pause = Pause()
    waiting = await begin(pause, LONG)
    pause.end()
    pause.end()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def test_an_end_affects_only_the_wait_under_way() -> None:
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


async def test_a_turnstile_lets_one_through_in_a_turn_of_the_loop_and_all_in_their_order() -> None:
    turnstile = Turnstile()
    turn = 0
    passed: list[tuple[int, int]] = []

    async def go(number: int) -> None:
        await turnstile.take()
        passed.append((turn, number))

    going = [asyncio.create_task(go(number)) for number in range(10)]
    while len(passed) < len(going):
        turn += 1
        await asyncio.sleep(0)
    turns, numbers = zip(*passed, strict=True)
    assert len(set(turns)) == len(going)
    assert list(numbers) == list(range(10))

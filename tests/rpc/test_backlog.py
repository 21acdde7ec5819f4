"""Answers that can wait for the end of a burst of calls."""

from __future__ import annotations

import asyncio

from openbank.rpc.backlog import SLICE, Backlog


async def arrive(backlog: Backlog, until: asyncio.Event) -> None:
    """Calls that arrive one after another, as grpc.aio takes them up."""
    while not until.is_set():
        backlog.arrived += 1
        await asyncio.sleep(0)


async def test_an_answer_waits_for_the_end_of_the_burst() -> None:
    backlog, ended = Backlog(), asyncio.Event()
    burst = asyncio.create_task(arrive(backlog, ended))
    answer = asyncio.create_task(backlog.wait())
    await asyncio.sleep(0.01)
    assert not answer.done()
    ended.set()
    await burst
    await answer


async def test_a_burst_that_does_not_end_does_not_stop_answers() -> None:
    backlog, ended = Backlog(), asyncio.Event()
    burst = asyncio.create_task(arrive(backlog, ended))
    async with asyncio.timeout(10):
        await asyncio.gather(*(backlog.wait() for _ in range(SLICE + 1)))
    ended.set()
    await burst


async def test_answers_leave_in_the_order_in_which_they_came() -> None:
    backlog = Backlog()
    left: list[int] = []

    async def answer(number: int) -> None:
        await backlog.wait()
        left.append(number)

    await asyncio.gather(*(answer(number) for number in range(3 * SLICE)))
    assert left == list(range(3 * SLICE))


async def test_a_caller_who_leaves_is_not_waited_for() -> None:
    backlog = Backlog()
    gone, stays = asyncio.create_task(backlog.wait()), asyncio.create_task(backlog.wait())
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(10):
        await stays
        await backlog.wait()

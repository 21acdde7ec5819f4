"""Calls under way: background work gives way to new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from openbank.rpc.calls import BURST_CALLS, Calls
from openbank.rpc.errors import TooManyCalls

TURNS = 10


LONG = 3_600.0
"""A wait that begins does not end within a test."""


async def test_background_work_waits_where_a_call_has_begun_since_its_last_slice() -> None:
    calls = Calls(maximum=2)
    give_way = calls.giving_way(LONG)
    calls.enter(calls.queries)
    assert not await goes_on(give_way)


async def test_background_work_continues_if_no_call_is_new() -> None:
    calls = Calls(maximum=2)
    give_way = calls.giving_way(LONG)
    assert await goes_on(give_way)
    calls.enter(calls.commands)
    assert not await goes_on(give_way)
    # The same call, still under way, may be waiting for that work.
    assert await goes_on(give_way)


async def test_two_kinds_of_background_work_both_wait_for_a_new_call() -> None:
    calls = Calls(maximum=2)
    one, other = calls.giving_way(LONG), calls.giving_way(LONG)
    calls.enter(calls.queries)
    assert not await goes_on(one)
    assert not await goes_on(other)


async def test_background_work_waits_for_the_end_of_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(maximum=100)
    give_way = calls.giving_way(LONG)
    arriving = [BURST_CALLS, BURST_CALLS, BURST_CALLS - 1]

    async def enter() -> None:
        calls.enter(calls.queries)

    async def sleep(seconds: float) -> None:
        assert seconds == LONG
        await asyncio.gather(*(enter() for _ in range(arriving.pop(0))))

    await enter()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await give_way()
    assert not arriving


async def test_a_query_that_waits_for_its_refusal_makes_room_for_another() -> None:
    calls = Calls(maximum=1)

    async def query() -> None:
        calls.enter(calls.queries)
        await calls.wait_for_refusal()

    waiting = asyncio.create_task(query())
    await asyncio.sleep(0)
    calls.enter(calls.queries)
    with pytest.raises(TooManyCalls):
        await calls.wait_for_refusal()
    await waiting


async def goes_on(give_way: Callable[[], Awaitable[None]]) -> bool:
    """Whether background work continues within a few turns of the loop."""
    giving_way = asyncio.ensure_future(give_way())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return not giving_way.cancel()

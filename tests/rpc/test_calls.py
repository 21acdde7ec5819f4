"""Calls under way: background work gives way to new ones."""

from __future__ import annotations

import asyncio

import pytest

from openbank.rpc import calls as calls_module
from openbank.rpc.calls import Calls

TURNS = 10


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that begins here does not end within a test."""
    monkeypatch.setattr(calls_module, "GIVE_WAY_SECONDS", 3_600.0)


async def test_background_work_waits_where_a_call_has_begun_since_its_last_slice() -> None:
    calls = Calls(maximum=2)
    calls.enter(calls.queries)
    assert not await goes_on(calls)


async def test_background_work_goes_on_where_no_call_is_new() -> None:
    calls = Calls(maximum=2)
    assert await goes_on(calls)
    calls.enter(calls.commands)
    assert not await goes_on(calls)
    # The same call, still under way, may be waiting for that work.
    assert await goes_on(calls)


async def goes_on(calls: Calls) -> bool:
    """Whether background work goes on within a few turns of the loop."""
    giving_way = asyncio.create_task(calls.give_way())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return not giving_way.cancel()

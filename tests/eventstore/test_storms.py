"""Retry storms: many clients send old requests again at once, while every call to the store takes its time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import pytest

from openbank.aggregates import history
from openbank.commands import accounts
from openbank.commands.write_side import WriteSide
from openbank.domain import movements
from openbank.domain.movements import Deposit, OpenAccount
from openbank.domain.request import Request
from openbank.eventstore.eventstoredb import EventStoreDBEventStore, requests
from openbank.eventstore.eventstoredb.link import Link
from tests.examples import NOON, some_request, usd
from tests.stand_ins.process import eventstoredb

STORMS = 12
RETRIES = 24
DEPOSITS = 250
LATENCY_SECONDS_MAX = 0.01
"""A twenty-fifth of what it was when the fault was found: what counts is that calls end in another order."""


@pytest.fixture
async def stores(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sequence[EventStoreDBEventStore]]:
    """Two instances', with small pages, so that a stream has many."""
    monkeypatch.setattr(requests, "PAGE", 40)
    monkeypatch.setattr(history, "PAGE", 40)
    async with eventstoredb() as server:
        stores = [await EventStoreDBEventStore.open(server.uri) for _ in range(2)]
        yield stores
        for store in stores:
            await store.close()


def make_slow(monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> None:
    read, append = Link.read, EventStoreDBEventStore.append

    async def slow_read(self: Link, **options: Any) -> Any:
        await asyncio.sleep(dice.uniform(0, LATENCY_SECONDS_MAX))
        return await read(self, **options)

    async def slow_append(self: EventStoreDBEventStore, *arguments: Any) -> int:
        await asyncio.sleep(dice.uniform(0, LATENCY_SECONDS_MAX))
        return await append(self, *arguments)

    monkeypatch.setattr(Link, "read", slow_read)
    monkeypatch.setattr(EventStoreDBEventStore, "append", slow_append)


def forget_requests(store: EventStoreDBEventStore) -> None:
    """The store's memory of request ids is empty, as it is for streams that others have pushed out."""
    store._streams.requests._streams.clear()


@pytest.mark.parametrize("seed", range(2))
async def test_no_request_is_done_twice_in_a_storm_of_retries(
    stores: Sequence[EventStoreDBEventStore], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = random.Random(seed)
    banks = [WriteSide(store, partial(next, count(NOON)), kept_max=10) for store in stores]
    bank = banks[0]
    opening = OpenAccount("a-1", "john", "1", usd(0))
    await bank.accounts.execute("a-1", lambda state: (movements.open_account(state, opening),), Request())
    done = [some_request() for _ in range(DEPOSITS)]
    await asyncio.gather(*(deposit(bank, request) for request in done))
    make_slow(monkeypatch, dice)

    new = 0
    for _ in range(STORMS):
        for store in stores:
            forget_requests(store)
        retried = dice.choices(done, k=RETRIES // 2) + dice.choices(done[-50:], k=RETRIES // 2)
        first = [some_request() for _ in range(3)]
        new += len(first)
        calls = [(request, True) for request in retried] + [(request, False) for request in first]
        dice.shuffle(calls)
        replayed = await asyncio.gather(*(arriving(dice.choice(banks), request, dice) for request, _ in calls))
        assert replayed == [expected for _, expected in calls]
        done += first
    found = await bank.accounts.load("a-1")
    assert found
    assert found.state.balance == usd(DEPOSITS + new)


async def arriving(bank: WriteSide, request: Request, dice: random.Random) -> bool:
    """Whether it was a replay."""
    await asyncio.sleep(dice.uniform(0, 4 * LATENCY_SECONDS_MAX))
    return await deposit(bank, request)


async def deposit(bank: WriteSide, request: Request) -> bool:
    return (await accounts.deposit(bank, Deposit("a-1", usd(1), ""), request)).replayed

"""Appends to EventStoreDB: this bank's adapter beside esdbclient's own `append_to_stream`, taking turns.

Against the stand-in of the tests in a process of its own, or the server at --address. Figures move with the machine;
the ratio is what counts.

    python -m benchmarks.esdb_append --writers 64 --rounds 10
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from uuid import UUID

import uvloop
from esdbclient import AsyncEventStoreDBClient, StreamState
from esdbclient import NewEvent as Proposed

from openbank.domain.account import MoneyDeposited
from openbank.domain.money import Currency, Money
from openbank.eventstore import codec
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.eventstoredb.events import metadata, payload
from openbank.eventstore.port import Metadata, NewEvent
from tests.stand_ins.process import EventStoreDBProcess

Append = Callable[[str, int], Awaitable[object]]

DOLLARS = Currency("USD", 2)
TYPE, DATA = codec.encode(MoneyDeposited(Money(DOLLARS, 12_345), "Salary", Money(DOLLARS, 1_234_567)))


ABOUT = Metadata(1_700_000_000_000_000, os.urandom(16), os.urandom(16), "c")
RUN = os.urandom(8)
NUMBERS = itertools.count()


def an_event() -> NewEvent:
    return NewEvent(RUN + next(NUMBERS).to_bytes(8), TYPE, DATA, ABOUT)


async def appends_a_second(append: Append, writers: int, seconds: float) -> float:
    """`writers` at once, each to a stream of its own, each waiting for its answer before the next."""
    until = time.perf_counter() + seconds
    done = 0

    async def write() -> None:
        nonlocal done
        stream, revision = f"account-{secrets.token_hex(8)}", 0
        while time.perf_counter() < until:
            await append(stream, revision)
            revision += 1
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    return done / (time.perf_counter() - start)


async def compare(address: str, writers: int, rounds: int, seconds: float) -> None:
    store = await EventStoreDBEventStore.open(address, wait_seconds=5)
    client = AsyncEventStoreDBClient(address)
    await client.connect()

    async def with_adapter(stream: str, revision: int) -> None:
        await store.append(stream, revision, [an_event()])

    async def with_client(stream: str, revision: int) -> None:
        """The same event in the same form, made anew each time as the adapter does."""
        event = an_event()
        content_type, data = payload(event.type, event.data)
        proposed = Proposed(event.type, data, metadata(event.metadata), content_type, UUID(bytes=event.id))
        expected = revision - 1 if revision else StreamState.NO_STREAM
        await client.append_to_stream(stream, current_version=expected, events=[proposed])

    both = []
    for number in range(rounds):
        ours = await appends_a_second(with_adapter, writers, seconds)
        theirs = await appends_a_second(with_client, writers, seconds)
        both.append((ours, theirs))
        print(f"round {number + 1}: {ours:,.0f} appends/s, esdbclient {theirs:,.0f}: {ours / theirs:.2f}")
    median = statistics.median(ours / theirs for ours, theirs in both)
    best = max(ours for ours, _ in both) / max(theirs for _, theirs in both)
    print(f"{writers} writers: {median:.2f} times esdbclient's append_to_stream; the best round of each: {best:.2f}")
    await store.close()
    await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", help="of a real server; events are left there")
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    with ExitStack() as running:
        address = arguments.address or running.enter_context(EventStoreDBProcess()).uri
        uvloop.run(compare(address, arguments.writers, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()

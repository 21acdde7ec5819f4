"""Appends to EventStoreDB: this bank's adapter beside esdbclient's own `append_to_stream`, taking turns.

Against the stand-in of the tests in a process of its own, or the server at --address. Figures move with the machine;
the ratio is what counts. Where others use the machine too, so does the ratio of rates; that of the processor time that
an append takes, of client and stand-in together, stays.

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
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import uvloop
from esdbclient import AsyncEventStoreDBClient, StreamState
from esdbclient import NewEvent as Proposed

from openbank.codec import events as codec
from openbank.domain.account_events import MoneyDeposited
from openbank.domain.money import Currency, Money
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


class Round(NamedTuple):
    rate: float
    """Appends a second."""
    processor: float
    """Seconds of it for an append, of this process and of the stand-in, if there is one."""


async def measured(append: Append, writers: int, seconds: float, server: int | None) -> Round:
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

    start, used = time.perf_counter(), processor_seconds(server)
    await asyncio.gather(*(write() for _ in range(writers)))
    return Round(done / (time.perf_counter() - start), (processor_seconds(server) - used) / done)


def processor_seconds(server: int | None) -> float:
    """Of this process and of that one, so far."""
    threads = Path(f"/proc/{server}/task").glob("*/schedstat") if server else ()
    return time.process_time() + sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


async def compare(address: str, server: int | None, writers: int, rounds: int, seconds: float) -> None:
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

    ours, theirs = [], []
    for number in range(rounds):
        ours.append(await measured(with_adapter, writers, seconds, server))
        theirs.append(await measured(with_client, writers, seconds, server))
        mine, other = ours[-1].rate, theirs[-1].rate
        print(f"round {number + 1}: {mine:,.0f} appends/s, esdbclient {other:,.0f}: {mine / other:.2f}")
    median = statistics.median(mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True))
    best = max(mine.rate for mine in ours) / max(other.rate for other in theirs)
    print(f"{writers} writers: {median:.2f} times esdbclient's append_to_stream; the best round of each: {best:.2f}")
    mine, other = (statistics.median(one.processor * 1e6 for one in both) for both in (ours, theirs))
    print(f"processor time of an append: {mine:.0f} us, esdbclient's {other:.0f} us: {other / mine:.2f} times")
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
        stand_in = None if arguments.address else running.enter_context(EventStoreDBProcess())
        address = stand_in.uri if stand_in else arguments.address
        server = stand_in.pid if stand_in else None
        uvloop.run(compare(address, server, arguments.writers, arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()

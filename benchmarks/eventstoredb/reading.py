"""What an event of the log costs to read, and to project."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Measure
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import BEGINNING

ACCOUNTS, EVENTS_EACH = 500, 100
PAGE = 500
US_MAX = 70


def rows(scratch: Path, rounds: int, _seconds: float) -> Sequence[Measure]:
    events = ACCOUNTS * EVENTS_EACH
    with Store(scratch, "reading", [EVENTS_EACH] * ACCOUNTS) as store:
        read = uvloop.run(_read(store.server.uri, events, rounds))
        with store.bank():
            pass
        rebuilt = [_rebuild(store) for _ in range(rounds)]
    note = f"{events:,} events, us of processor time each"
    return [
        Measure("read the log of EventStoreDB", read, US_MAX, note, at_most=True, unit="us"),
        Measure("rebuild the views from EventStoreDB", rebuilt, US_MAX, note, at_most=True, unit="us"),
    ]


async def _read(address: str, events: int, rounds: int) -> list[float]:
    store = await EventStoreDBEventStore.open(address, wait_seconds=5)
    used = []
    for _ in range(rounds):
        begin, read, at = time.process_time(), 0, BEGINNING
        caught_up = False
        while not caught_up:
            page = await store.read_log(at, PAGE)
            read, at, caught_up = read + len(page.events), page.through, page.caught_up
        used.append((time.process_time() - begin) / events * 1e6)
        if read != events:
            raise SystemExit(f"{read} of {events} events were read")
    await store.close()
    return used


def _rebuild(store: Store) -> float:
    """Beyond what a start takes without one."""
    with store.bank() as bank:
        start = bank.cpu_seconds()
    store.forget_views()
    with store.bank() as bank:
        return (bank.cpu_seconds() - start) / store.events * 1e6

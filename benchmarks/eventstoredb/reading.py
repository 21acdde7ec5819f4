"""What an event of the log costs to read, and to project."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import loop
from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Found, Round, Row, experiment
from benchmarks.scratch import Scratch
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import BEGINNING

ACCOUNTS, EVENTS_EACH = 500, 100
EVENTS = ACCOUNTS * EVENTS_EACH
PAGE = 500
NOTE = f"{EVENTS:,} events, processor time of each"


@experiment(
    Row("read the log of EventStoreDB", 70, NOTE, at_most=True, unit="us"),
    Row("rebuild the views from EventStoreDB", 70, NOTE, at_most=True, unit="us"),
)
def reading(scratch: Scratch) -> Iterator[Round]:
    with Store(scratch.directory, "reading", [EVENTS_EACH] * ACCOUNTS) as store:
        with store.bank():
            """Fills the views, so that the first round starts as the others do."""

        yield lambda: [Found(loop.run(read_us(store.server.uri))), Found(_rebuild_us(store))]


async def read_us(address: str) -> float:
    store = await EventStoreDBEventStore.open(address, wait_seconds=5)
    begin, read, at = time.process_time(), 0, BEGINNING
    caught_up = False
    while not caught_up:
        page = await store.read_log(at, PAGE)
        read, at, caught_up = read + len(page.events), page.through, page.caught_up
    used = time.process_time() - begin
    await store.close()
    if read != EVENTS:
        raise SystemExit(f"{read} of {EVENTS} events were read")
    return used / EVENTS * 1e6


def _rebuild_us(store: Store) -> float:
    """Beyond what a start takes without one."""
    with store.bank() as bank:
        start = bank.cpu_seconds()
    store.forget_views()
    with store.bank() as bank:
        return (bank.cpu_seconds() - start) / EVENTS * 1e6

"""Deposits on EventStoreDB beside embedded ones, and with more accounts than fit into memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from benchmarks import history, messages, servers
from benchmarks.bench import MANY as IN_FLIGHT
from benchmarks.cpu import used
from benchmarks.eventstoredb.banks import Store
from benchmarks.load import load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch

ACCOUNTS = 1_000
MANY, FEW = 5_000, 100
EVENTS_EACH = 32
"""Two snapshots."""
KEPT = 1_000
"""Aggregates in memory of the bank with many accounts."""
PATH = messages.path("Deposit")


@experiment(
    Row(
        "processor time of a Deposit on EventStoreDB, 64 in flight / embedded",
        1.4,
        "{:,.0f} of {:,.0f} us",
        at_most=True,
    )
)
def beside_embedded(scratch: Scratch) -> Iterator[Round]:
    bodies = write_bodies(scratch.directory / "deposits", map(messages.deposit, range(ACCOUNTS)))
    embedded = scratch.directory / "embedded"
    history.write_accounts(embedded, [1] * ACCOUNTS)
    with (
        Store(scratch.directory, "deposits", [1] * ACCOUNTS) as store,
        store.bank() as bank,
        servers.bank(embedded) as other,
    ):
        for one in (bank, other):
            # Each account once, so that all are in memory.
            load(one.address, PATH, bodies, IN_FLIGHT, calls=ACCOUNTS)

        def measure() -> Sequence[Found]:
            us = [used(one, PATH, bodies, IN_FLIGHT, seconds=scratch.seconds).us for one in (bank, other)]
            return [ratio(us[0], us[1])]

        yield measure


@experiment(
    Row(
        "processor time of a Deposit on an account that is not in memory / on one that is, EventStoreDB",
        1.5,
        "{:,.0f} of {:,.0f} us",
        at_most=True,
    ),
    Row(
        "deposits/s on EventStoreDB, 5,000 accounts of which 1,000 fit in memory / 100 accounts",
        0.6,
        "{:,.0f} of {:,.0f} deposits/s",
    ),
)
def not_in_memory(scratch: Scratch) -> Iterator[Round]:
    numbers = random.Random(1).sample(range(MANY), MANY)
    to_all = write_bodies(scratch.directory / "deposits to all", map(messages.deposit, numbers))
    to_few = write_bodies(scratch.directory / "deposits to few", map(messages.deposit, range(FEW)))
    with (
        Store(scratch.directory, "many", [EVENTS_EACH] * MANY) as store,
        store.bank("--cached-aggregates", str(KEPT)) as bank,
    ):
        # A bank that has run for a while has had each of them in memory before.
        load(bank.address, PATH, to_all, IN_FLIGHT, calls=MANY)

        def measure() -> Sequence[Found]:
            # The loader begins with the first body. Each round continues where the last one ended: otherwise it would
            # find its accounts in memory.
            to_many = write_bodies(scratch.directory / "deposits to many", map(messages.deposit, numbers))
            many, few = (used(bank, PATH, bodies, IN_FLIGHT, seconds=scratch.seconds) for bodies in (to_many, to_few))
            numbers[:] = numbers[many.all_calls % MANY :] + numbers[: many.all_calls % MANY]
            return ratio(many.us, few.us), ratio(many.per_second, few.per_second)

        yield measure

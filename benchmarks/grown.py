"""A bank with a past, beside a fresh one: 1,000,000 events of 20,000 accounts, with settings as they come.

Half of the deposits are on accounts picked uniformly at random, half on a few hot ones. Both banks are started for each
round, so that nothing is in memory at first.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import messages, servers
from benchmarks.bench import MANY
from benchmarks.cpu import used
from benchmarks.eventstoredb.banks import Store
from benchmarks.load import load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS as FRESH_ACCOUNTS
from benchmarks.seed import seed
from benchmarks.servers import ServerProcess

EVENTS, ACCOUNTS = 1_000_000, 20_000
HISTORY = [EVENTS // ACCOUNTS] * ACCOUNTS
STORE_EVENTS, STORE_ACCOUNTS = 200_000, 10_000
"""Of the bank on EventStoreDB's stand-in."""
HOT = 20
PICKS = 200_000
LONGER, LONGER_FRESH = 40, 13
"""How many times as long as other loads: a minute, and as long as a fresh bank is fresh."""
KEPT = 1_000
"""Aggregates in memory of the bank where every deposit is on an account that is not."""

NOTE = "{:,.0f} of {:,.0f} deposits/s, a minute at a time, each on banks just started"


@experiment(Row("deposits/s on the grown bank / on a fresh one, embedded", 0.8, NOTE), rounds=3)
def embedded(scratch: Scratch) -> Iterator[Round]:
    grown, fresh = scratch.copy_history("grown", HISTORY), scratch.directory / "fresh"
    with servers.bank(fresh) as bank:
        seed(bank.address)
    many, few = _bodies(scratch.directory, ACCOUNTS), _bodies(scratch.directory, FRESH_ACCOUNTS)

    def measure() -> Sequence[Found]:
        with servers.bank(fresh) as fresh_bank:
            of_fresh = _deposits_per_second(fresh_bank, few, scratch.seconds * LONGER_FRESH)
        with servers.bank(grown) as grown_bank:
            return [ratio(_deposits_per_second(grown_bank, many, scratch.seconds * LONGER), of_fresh)]

    yield measure


@experiment(
    Row(
        "deposits/s on the grown bank / on a fresh one, EventStoreDB's stand-in",
        0.7,
        f"{{:,.0f}} of {{:,.0f}} deposits/s; {STORE_EVENTS:,} events of {STORE_ACCOUNTS:,} accounts",
    ),
    rounds=3,
)
def on_eventstoredb(scratch: Scratch) -> Iterator[Round]:
    many, few = _bodies(scratch.directory, STORE_ACCOUNTS), _bodies(scratch.directory, FRESH_ACCOUNTS)
    with (
        Store(scratch.directory, "grown", [STORE_EVENTS // STORE_ACCOUNTS] * STORE_ACCOUNTS) as grown,
        Store(scratch.directory, "fresh", [1] * FRESH_ACCOUNTS) as fresh,
    ):

        def measure() -> Sequence[Found]:
            with fresh.bank() as bank:
                of_fresh = _deposits_per_second(bank, few, scratch.seconds * LONGER_FRESH / 2)
            with grown.bank() as bank:
                return [ratio(_deposits_per_second(bank, many, scratch.seconds * LONGER_FRESH), of_fresh)]

        yield measure


@experiment(
    Row(
        "processor time of a Deposit on an account that is not in memory / on one that is, embedded",
        1.5,
        "{:,.0f} of {:,.0f} us",
        at_most=True,
    )
)
def not_in_memory(scratch: Scratch) -> Iterator[Round]:
    """Two banks of the same accounts, each in turn: one keeps them all, one a twentieth."""
    warm, cold = scratch.copy_history("warm", HISTORY), scratch.copy_history("cold", HISTORY)
    numbers = random.Random(1).sample(range(ACCOUNTS), ACCOUNTS)
    bodies = write_bodies(scratch.directory / "deposits in turn", map(messages.deposit, numbers))
    path = messages.path("Deposit")
    with (
        servers.bank(warm) as warm_bank,
        servers.bank(cold, flags=("--cached-aggregates", str(KEPT))) as cold_bank,
    ):
        # Every account once, so that those that fit into memory are there.
        for bank in (warm_bank, cold_bank):
            load(bank.address, path, bodies, MANY, calls=ACCOUNTS)

        def measure() -> Sequence[Found]:
            of_warm, of_cold = (
                used(bank, path, bodies, MANY, seconds=scratch.seconds) for bank in (warm_bank, cold_bank)
            )
            return [ratio(of_cold.us, of_warm.us)]

        yield measure


def _bodies(directory: Path, accounts: int) -> Path:
    """Deposits on accounts picked at random: half uniformly, half among the hot ones."""
    picked = random.Random(1)
    numbers = (picked.randrange(HOT if pick % 2 else accounts) for pick in range(PICKS))
    return write_bodies(directory / f"deposits to {accounts}", map(messages.deposit, numbers))


def _deposits_per_second(bank: ServerProcess, bodies: Path, seconds: float) -> float:
    return load(bank.address, messages.path("Deposit"), bodies, MANY, seconds=seconds, warm_up=0).per_second

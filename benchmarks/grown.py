"""A bank with a past, beside a fresh one: 1,000,000 events of 20,000 accounts, with settings as they come.

Half of the deposits are on accounts picked uniformly at random, half on a few hot ones. Both banks are started for each
round, so that nothing is in memory at first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
"""The size of the bank on EventStoreDB's stand-in."""
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
    yield _compare(
        scratch,
        _Load(partial(servers.bank, grown), ACCOUNTS, LONGER),
        _Load(partial(servers.bank, fresh), FRESH_ACCOUNTS, LONGER_FRESH),
    )


@experiment(
    Row(
        "deposits/s on the grown bank / on a fresh one, EventStoreDB's stand-in",
        0.7,
        f"{{:,.0f}} of {{:,.0f}} deposits/s; {STORE_EVENTS:,} events of {STORE_ACCOUNTS:,} accounts",
    ),
    rounds=3,
)
def on_eventstoredb(scratch: Scratch) -> Iterator[Round]:
    with (
        Store(scratch.directory, "grown", [STORE_EVENTS // STORE_ACCOUNTS] * STORE_ACCOUNTS) as grown,
        Store(scratch.directory, "fresh", [1] * FRESH_ACCOUNTS) as fresh,
    ):
        yield _compare(
            scratch,
            _Load(grown.bank, STORE_ACCOUNTS, LONGER_FRESH),
            _Load(fresh.bank, FRESH_ACCOUNTS, LONGER_FRESH / 2),
        )


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


class _Load(NamedTuple):
    """Deposits on a bank that is started for them."""

    start: Callable[[], AbstractContextManager[ServerProcess]]
    accounts: int
    longer: float
    """How many times as long as other loads."""


def _compare(scratch: Scratch, grown: _Load, fresh: _Load) -> Round:
    """A round that loads one bank after the other."""
    bodies = {load: _bodies(scratch.directory, load.accounts) for load in (grown, fresh)}

    def per_second(load: _Load) -> float:
        with load.start() as bank:
            return _deposits_per_second(bank, bodies[load], scratch.seconds * load.longer)

    def measure() -> Sequence[Found]:
        of_fresh = per_second(fresh)
        return [ratio(per_second(grown), of_fresh)]

    return measure


def _bodies(directory: Path, accounts: int) -> Path:
    """Deposits on accounts picked at random: half uniformly, half among the hot ones."""
    picked = random.Random(1)
    numbers = (picked.randrange(HOT if pick % 2 else accounts) for pick in range(PICKS))
    return write_bodies(directory / f"deposits to {accounts}", map(messages.deposit, numbers))


def _deposits_per_second(bank: ServerProcess, bodies: Path, seconds: float) -> float:
    return load(bank.address, messages.path("Deposit"), bodies, MANY, seconds=seconds, warm_up=0).per_second

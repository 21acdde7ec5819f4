"""Deposits with 64 in flight: beside an embedded bank, and to more accounts than fit into memory."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks import history, messages, servers
from benchmarks.eventstoredb.banks import Store
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.servers import ServerProcess

IN_FLIGHT = 64
ACCOUNTS = 1_000
MANY, FEW = 5_000, 100
EVENTS_EACH = 100
KEPT = 1_000
"""Aggregates in memory of the bank with many accounts."""


def beside_embedded(scratch: Path, rounds: int, seconds: float) -> Sequence[Measure]:
    scratch.mkdir(exist_ok=True)
    bodies = write_bodies(scratch / "deposits", map(messages.deposit, range(ACCOUNTS)))
    embedded = scratch / "embedded"
    history.write_accounts(embedded, [1] * ACCOUNTS)
    ours, theirs = [], []
    with Store(scratch, "deposits", [1] * ACCOUNTS) as store, store.bank() as bank, servers.bank(embedded) as other:
        for one in (bank, other):
            # Each account once, so that all are in memory.
            load(one.address, messages.path("Deposit"), bodies, IN_FLIGHT, calls=ACCOUNTS)
        for _ in range(rounds):
            ours.append(_cpu(bank, bodies, seconds))
            theirs.append(_cpu(other, bodies, seconds))
    note = f"{median(ours) * 1e6:,.0f} of {median(theirs) * 1e6:,.0f} us of processor time"
    name = "Deposit on EventStoreDB, 64 in flight / embedded"
    return [Measure(name, ratios(ours, theirs), 1.4, note, at_most=True)]


def cold(scratch: Path, rounds: int, seconds: float) -> Sequence[Measure]:
    scratch.mkdir(exist_ok=True)
    numbers = random.Random(1).sample(range(MANY), MANY)
    many = write_bodies(scratch / "deposits to many", map(messages.deposit, numbers))
    few = write_bodies(scratch / "deposits to few", map(messages.deposit, range(FEW)))
    many_rate: list[float] = []
    few_rate: list[float] = []
    many_cpu: list[float] = []
    few_cpu: list[float] = []
    with Store(scratch, "many", [EVENTS_EACH] * MANY) as store, store.bank("--cached-aggregates", str(KEPT)) as bank:
        for _ in range(rounds):
            for bodies, rates, used in ((few, few_rate, few_cpu), (many, many_rate, many_cpu)):
                begin = bank.cpu_seconds()
                done = load(bank.address, messages.path("Deposit"), bodies, IN_FLIGHT, seconds=seconds)
                used.append((bank.cpu_seconds() - begin) / done.all_calls)
                rates.append(done.per_second)
    note = (
        f"{median(many_rate):,.0f} of {median(few_rate):,.0f} deposits/s;"
        f" {median(many_cpu) * 1e6:,.0f} and {median(few_cpu) * 1e6:,.0f} us of processor time"
    )
    name = f"deposits/s on EventStoreDB, {MANY:,} accounts with {KEPT:,} in memory / {FEW} accounts"
    return [Measure(name, ratios(many_rate, few_rate), 0.6, note)]


def _cpu(bank: ServerProcess, bodies: Path, seconds: float) -> float:
    begin = bank.cpu_seconds()
    done = load(bank.address, messages.path("Deposit"), bodies, IN_FLIGHT, seconds=seconds)
    return (bank.cpu_seconds() - begin) / done.all_calls

"""Deposits in batches beside deposits by calls of their own, turn by turn."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import messages
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS
from benchmarks.serving import MANY, Bench
from openbank.batches.v1.batches_service_pb2 import ExecuteBatchRequest

COMMANDS = 100
IN_FLIGHT = 8
"""Batches at a time."""


def rows(bench: Bench) -> list[Measure]:
    independent = [messages.independent(first, COMMANDS) for first in range(0, ACCOUNTS, COMMANDS)]
    on_one = [messages.atomic(0, COMMANDS)]
    single, single_on_one, each, together = [], [], [], []
    for _ in range(bench.rounds):
        single.append(bench.load(bench.bank, "Deposit", MANY, "deposits").per_second)
        each.append(_deposits_per_second(bench, independent))
        single_on_one.append(bench.load(bench.bank, "Deposit", MANY, "deposits to one").per_second)
        together.append(_deposits_per_second(bench, on_one))
    bench.check()
    return [
        Measure(
            f"deposits in INDEPENDENT batches of {COMMANDS} / Deposit, {MANY} in flight, distinct accounts",
            ratios(each, single),
            2.5,
            f"{median(each):,.0f} of {median(single):,.0f} deposits/s, {IN_FLIGHT} batches in flight",
        ),
        Measure(
            f"deposits in ATOMIC batches of {COMMANDS} / Deposit, {MANY} in flight, one account",
            ratios(together, single_on_one),
            5.0,
            f"{median(together):,.0f} of {median(single_on_one):,.0f} deposits/s, {IN_FLIGHT} batches in flight",
        ),
    ]


def _deposits_per_second(bench: Bench, batches: Iterable[ExecuteBatchRequest]) -> float:
    bodies = write_bodies(bench.scratch / "batches", batches)
    done = load(bench.bank.address, messages.EXECUTE_BATCH, bodies, IN_FLIGHT, seconds=bench.seconds)
    bench.deposited += done.all_calls * COMMANDS
    return done.per_second * COMMANDS

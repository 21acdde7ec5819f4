"""Transfers beside deposits, turn by turn: a transfer is two appends, each with a commit of its own."""

from __future__ import annotations

from benchmarks import messages
from benchmarks.load import Load, load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS
from benchmarks.serving import MANY, Bench


def rows(bench: Bench) -> list[Measure]:
    """Each account pays the next, so none runs dry."""
    write_bodies(
        bench.scratch / "transfers", (messages.transfer(number, (number + 1) % ACCOUNTS) for number in range(ACCOUNTS))
    )
    deposits, transfers, lone_deposits, lone_transfers = [], [], [], []
    for _ in range(bench.rounds):
        deposits.append(bench.load(bench.bank, "Deposit", MANY, "deposits").per_second)
        transfers.append(_load(bench, MANY).per_second)
        lone_deposits.append(bench.load(bench.bank, "Deposit", 1, "deposits").p50_us)
        lone_transfers.append(_load(bench, 1).p50_us)
    bench.check()
    return [
        Measure(
            f"CreateTransfer / Deposit, {MANY} in flight, distinct accounts",
            ratios(transfers, deposits),
            0.5,
            f"{median(transfers):,.0f} of {median(deposits):,.0f} calls/s",
        ),
        Measure(
            "one CreateTransfer at a time / one Deposit: p50",
            ratios(lone_transfers, lone_deposits),
            2.0,
            f"{median(lone_transfers):,.0f} beside {median(lone_deposits):,.0f} us",
            at_most=True,
        ),
    ]


def _load(bench: Bench, in_flight: int) -> Load:
    bodies = bench.scratch / "transfers"
    return load(bench.bank.address, messages.CREATE_TRANSFER, bodies, in_flight, seconds=bench.seconds)

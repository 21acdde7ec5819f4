"""Deposits in batches beside deposits by calls of their own, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import messages
from benchmarks.bench import Bench, bench
from benchmarks.load import load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS

COMMANDS = 100
IN_FLIGHT = 8
"""Batches at a time."""
NOTE = f"{{:,.0f}} of {{:,.0f}} deposits/s, {IN_FLIGHT} batches in flight"


@experiment(
    Row("INDEPENDENT batches of 100, deposits/s / single Deposits, 64 in flight", 4.0, NOTE),
    Row("ATOMIC batches of 100 on one account, deposits/s / single Deposits, 64 in flight", 8.0, NOTE),
    Row("ATOMIC batches of 100 on one account, deposits/s / single Deposits there, 64 in flight", 8.0, NOTE),
)
def batches(scratch: Scratch) -> Iterator[Round]:
    independent = (messages.independent(first, COMMANDS) for first in range(0, ACCOUNTS, COMMANDS))
    write_bodies(scratch.directory / "independent", independent)
    write_bodies(scratch.directory / "atomic", [messages.atomic(0, COMMANDS)])
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            single = at.deposits().per_second
            atomic = _deposits_per_second(at, "atomic")
            return (
                ratio(_deposits_per_second(at, "independent"), single),
                ratio(atomic, single),
                ratio(atomic, at.deposits(bodies="deposits to one").per_second),
            )

        yield measure


def _deposits_per_second(at: Bench, bodies: str) -> float:
    path = at.scratch.directory / bodies
    done = load(at.bank.address, messages.EXECUTE_BATCH, path, IN_FLIGHT, seconds=at.scratch.seconds)
    at.deposited += done.all_calls * COMMANDS
    return done.per_second * COMMANDS

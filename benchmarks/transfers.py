"""Transfers beside deposits, turn by turn: a transfer is two appends, each with a commit of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import messages
from benchmarks.bench import MANY, Bench, bench
from benchmarks.load import Load, load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS


@experiment(
    Row("CreateTransfer / Deposit, 64 in flight, distinct accounts", 0.55, "{:,.0f} of {:,.0f} calls/s"),
    Row("one CreateTransfer at a time / one Deposit: p50", 2.0, "{:,.0f} of {:,.0f} us", at_most=True),
)
def transfers(scratch: Scratch) -> Iterator[Round]:
    """Each account pays the next, so none runs dry."""
    bodies = (messages.transfer(number, (number + 1) % ACCOUNTS) for number in range(ACCOUNTS))
    write_bodies(scratch.directory / "transfers", bodies)
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            return (
                ratio(_transfers(at, MANY).per_second, at.deposits().per_second),
                ratio(_transfers(at, 1).p50_us, at.deposits(1).p50_us),
            )

        yield measure


def _transfers(at: Bench, in_flight: int) -> Load:
    bodies = at.scratch.directory / "transfers"
    return load(at.bank.address, messages.CREATE_TRANSFER, bodies, in_flight, seconds=at.scratch.seconds)

"""Reads beside an echo that sends answers of the same size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bench import MANY, Bench, bench
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch

NOTE = "{:,.0f} of {:,.0f} calls/s, {:,.0f} bytes"


@experiment(
    Row("GetAccount / echo", 0.9, NOTE),
    Row("ListAccountsByOwner of 50 / echo of the same size", 0.85, NOTE),
)
def beside_echo(scratch: Scratch) -> Iterator[Round]:
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            return _read(at, "GetAccount", "gets"), _read(at, "ListAccountsByOwner", "lists")

        yield measure


def _read(at: Bench, method: str, bodies: str) -> Found:
    echo, bank = (at.load(server, method, MANY, bodies) for server in (at.echo, at.bank))
    return ratio(bank.per_second, echo.per_second, bank.response_bytes)


EXPERIMENTS = (beside_echo,)

"""Rebuilding the views, and starting on a long log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from benchmarks import grown, history, messages, servers, stored
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.views.sqlite import FILE as VIEWS

TIMES_AS_LONG = 10


@experiment(
    Row("rebuild of the views", 50_000, "{:,.0f} events, while the bank serves", unit="events/s"),
    Row("start on 1,000,000 events", 1.0, "from the command to the first answer", at_most=True, unit="s"),
    rounds=3,
)
def rebuild(scratch: Scratch) -> Iterator[Round]:
    data = scratch.copy_history("rebuilt", grown.HISTORY)

    def measure() -> Sequence[Found]:
        seconds, _ = _rebuild(data, grown.EVENTS)
        return Found(grown.EVENTS / seconds, (grown.EVENTS,)), Found(_start_seconds(data))

    yield measure


@experiment(
    Row(
        "rebuild at 10,000,000 events / at 1,000,000, events/s of processor time",
        0.9,
        "{:,.0f} of {:,.0f} events/s of processor time",
    ),
    rounds=3,
    long=True,
)
def of_ten_million(scratch: Scratch) -> Iterator[Round]:
    """Accounts grow with the log: 50 events each."""
    data = scratch.copy_history("rebuilt", grown.HISTORY)
    long = scratch.directory / "long"
    history.write_accounts(long, grown.HISTORY * TIMES_AS_LONG)

    def events_per_second(data: Path, events: int) -> float:
        _, cpu_seconds = _rebuild(data, events)
        return events / cpu_seconds

    yield lambda: [ratio(events_per_second(long, grown.EVENTS * TIMES_AS_LONG), events_per_second(data, grown.EVENTS))]


def _rebuild(data: Path, events: int) -> tuple[float, float]:
    """Seconds by the clock and of processor time. With the start: a bank says where it listens only after a while,
    where its views are behind."""
    for file in data.glob(f"{VIEWS}*"):
        file.unlink()
    begin = time.perf_counter()
    with servers.bank(data) as bank:
        stored.wait_until_projected(data, events)
        return time.perf_counter() - begin, bank.cpu_seconds()


def _start_seconds(data: Path) -> float:
    begin = time.perf_counter()
    with servers.bank(data) as bank, grpc.insecure_channel(bank.address) as channel:
        AccountsServiceStub(channel).GetAccount(messages.get_account(0), wait_for_ready=True)
        return time.perf_counter() - begin


EXPERIMENTS = (rebuild, of_ten_million)

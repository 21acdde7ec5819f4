"""What is measured on a log of 1,000,000 events: starts, rebuilds, and accounts with a long history."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import grpc

from benchmarks import history, messages, servers, stored
from benchmarks.history import EVENTS, LONG_ACCOUNTS, LONG_EVENTS, SHORT_EVENTS
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.views.sqlite import FILE as VIEWS

REBUILDS = 5
STARTS = 5
REBUILD_SECONDS_MAX = 300
READY_SECONDS_MAX = 60


def rows(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    data = scratch / "long"
    history.write(data)
    rebuild = _rebuild(data)
    start = _start(data)
    return [rebuild, start, *_long_account(scratch, data, rounds, seconds)]


def _rebuild(data: Path) -> Measure:
    rates = []
    for _ in range(REBUILDS):
        for file in data.glob(f"{VIEWS}*"):
            file.unlink()
        # With the start: a bank says where it listens only after a while, where its views are behind.
        begin = time.perf_counter()
        with servers.bank(data):
            _until(lambda: stored.projected(data) >= EVENTS, REBUILD_SECONDS_MAX)
            rates.append(EVENTS / (time.perf_counter() - begin))
    return Measure("projection rebuild", rates, 50_000, f"{EVENTS:,} events, while it serves", unit="events/s")


def _start(data: Path) -> Measure:
    seconds = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        with servers.bank(data) as bank, grpc.insecure_channel(bank.address) as channel:
            AccountsServiceStub(channel).GetAccount(messages.get_account(0), wait_for_ready=True)
            seconds.append(time.perf_counter() - begin)
    note = "from the command to the first answer"
    return Measure(f"start on {EVENTS:,} events", seconds, 1.0, note, at_most=True, unit="s")


def _long_account(scratch: Path, data: Path, rounds: int, seconds: float) -> list[Measure]:
    cold_long, cold_short, warm_long, warm_short = [], [], [], []
    # The history was written past the bank, which would have made snapshots on its way: it makes them now.
    with servers.bank(data) as bank:
        for long in range(LONG_ACCOUNTS):
            _deposit_seconds(bank, long)
    deposited = stored.deposits(data)
    for number in range(rounds):
        long, short = number % LONG_ACCOUNTS, LONG_ACCOUNTS + 2 * number
        with servers.bank(data) as bank:
            # The first call of a connection and of a process is like no other.
            _deposit_seconds(bank, short + 1)
            cold_short.append(_deposit_seconds(bank, short))
            cold_long.append(_deposit_seconds(bank, long))
            deposited += 3
            for account, warm in ((short, warm_short), (long, warm_long)):
                bodies = write_bodies(scratch / "to one account", [messages.deposit(account)])
                done = load(bank.address, messages.path("Deposit"), bodies, 1, seconds=seconds)
                warm.append(done.p50_us / 1e6)
                deposited += done.all_calls
    if stored.deposits(data) != deposited:
        raise SystemExit(f"the store holds {stored.deposits(data)} deposits, not {deposited}")
    return [_compared("cold", cold_long, cold_short), _compared("warm", warm_long, warm_short)]


def _compared(how: str, long: list[float], short: list[float]) -> Measure:
    name = f"Deposit to an account with {LONG_EVENTS:,} events, {how} / with {SHORT_EVENTS}"
    note = f"{median(long) * 1000:,.2f} of {median(short) * 1000:,.2f} ms"
    return Measure(name, ratios(long, short), 1.3, note, at_most=True)


def _deposit_seconds(bank: ServerProcess, account: int) -> float:
    with grpc.insecure_channel(bank.address) as channel:
        grpc.channel_ready_future(channel).result(READY_SECONDS_MAX)
        stub = AccountsServiceStub(channel)
        begin = time.perf_counter()
        stub.Deposit(messages.deposit(account, request_id=""))
        return time.perf_counter() - begin


def _until(true: Callable[[], bool], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while not true():
        if time.perf_counter() > end:
            raise SystemExit(f"not done within {seconds} seconds")
        time.sleep(0.05)

"""What open holds cost deposits on their account, and what holds that fall due together cost everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import messages
from benchmarks.load import write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS
from benchmarks.serving import MANY, Bench
from openbank.common.v1.money_pb2 import Money
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.holds.v1.holds_service_pb2_grpc import HoldsServiceStub

OPEN_HOLDS = 1_000
DUE_HOLDS = 10_000
WITH_HOLDS, WITHOUT = 0, 1
"""Two accounts."""
AT_A_TIME = 100
CENT = Money(currency_code="USD", nanos=10_000_000)
PLACE_SECONDS = 30
"""In which all holds that fall due together are placed."""


def rows(bench: Bench) -> list[Measure]:
    for account in (WITH_HOLDS, WITHOUT):
        write_bodies(bench.scratch / f"deposits to {account}", [messages.deposit(account)])
    asyncio.run(_place(bench.bank.address, [WITH_HOLDS] * OPEN_HOLDS, time.time() + 3600))
    held, plain, quiet, due = [], [], [], []
    for _ in range(bench.rounds):
        held.append(bench.load(bench.bank, "Deposit", MANY, f"deposits to {WITH_HOLDS}").per_second)
        plain.append(bench.load(bench.bank, "Deposit", MANY, f"deposits to {WITHOUT}").per_second)
        quiet.append(bench.load(bench.bank, "Deposit", MANY, "deposits").p99_us / 1000)
        due.append(_deposits_while_due(bench) / 1000)
    bench.check()
    return [
        Measure(
            f"Deposit on an account without holds / on one with {OPEN_HOLDS:,} open, {MANY} in flight",
            ratios(plain, held),
            1.1,
            f"{median(plain):,.0f} beside {median(held):,.0f} calls/s",
            at_most=True,
        ),
        Measure(
            f"what {DUE_HOLDS:,} holds that fall due in one second add to the p99 of deposits, {MANY} in flight",
            [max(0.0, one - other) for one, other in zip(due, quiet, strict=True)],
            50,
            f"{median(due):,.0f} beside {median(quiet):,.0f} ms",
            at_most=True,
            unit="ms",
        ),
    ]


def _deposits_while_due(bench: Bench) -> float:
    """The p99 in microseconds, of a load in which the second lies."""
    due = time.time() + PLACE_SECONDS
    accounts = [WITHOUT + 1 + number % (ACCOUNTS - 2) for number in range(DUE_HOLDS)]
    asyncio.run(_place(bench.bank.address, accounts, due))
    if time.time() > due - bench.seconds:
        raise SystemExit("the holds fall due before all of them were placed")
    time.sleep(due - bench.seconds / 2 - time.time())
    return bench.load(bench.bank, "Deposit", MANY, "deposits").p99_us


async def _place(address: str, accounts: Sequence[int], due: float) -> None:
    """A hold on each. All fall due in the second that begins at `due`, in Unix seconds."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = HoldsServiceStub(channel)
        for start in range(0, len(accounts), AT_A_TIME):
            some = accounts[start : start + AT_A_TIME]
            placing = (stub.PlaceHold(_hold(account, due + n / AT_A_TIME)) for n, account in enumerate(some))
            await asyncio.gather(*placing)


def _hold(account: int, due: float) -> holds.PlaceHoldRequest:
    expire_time = Timestamp(seconds=int(due), nanos=int(due % 1 * 1_000_000) * 1000)
    return holds.PlaceHoldRequest(account_id=messages.account_id(account), amount=CENT, expire_time=expire_time)

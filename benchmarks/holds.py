"""What open holds cost deposits on their account, and what holds that fall due together cost everybody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import loop, messages
from benchmarks.bench import Bench, bench
from benchmarks.load import write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.batches.v1.batches_service_pb2_grpc import BatchesServiceStub
from openbank.holds.v1 import holds_service_pb2 as holds

OPEN_HOLDS = 1_000
DUE_HOLDS = 10_000
WITH_HOLDS, WITHOUT = 0, 1
"""Two accounts."""
AT_A_TIME = 500
PLACE_SECONDS = 20
"""In which all holds that fall due together are placed."""


@experiment(
    Row(
        "Deposit on an account without holds / on one with 1,000 open, 64 in flight",
        1.1,
        "{:,.0f} of {:,.0f} calls/s",
        at_most=True,
    )
)
def open_holds(scratch: Scratch) -> Iterator[Round]:
    for account in (WITH_HOLDS, WITHOUT):
        write_bodies(scratch.directory / f"deposits to {account}", [messages.deposit(account)])
    with bench(scratch) as at:
        loop.run(_place(at.bank.address, [WITH_HOLDS] * OPEN_HOLDS, time.time() + 3600))

        def measure() -> Sequence[Found]:
            held, plain = (at.deposits(bodies=f"deposits to {account}") for account in (WITH_HOLDS, WITHOUT))
            return [ratio(plain.per_second, held.per_second)]

        yield measure


@experiment(
    Row(
        "what 10,000 holds that fall due in one second add to the p99 of deposits, 64 in flight",
        50,
        "{:,.0f} beside {:,.0f} ms",
        at_most=True,
        unit="ms",
    ),
    rounds=3,
)
def due_holds(scratch: Scratch) -> Iterator[Round]:
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            quiet, due = at.deposits().p99_us / 1000, _deposits_while_due(at) / 1000
            return [Found(max(0.0, due - quiet), (due, quiet))]

        yield measure


def _deposits_while_due(at: Bench) -> float:
    """The p99 in microseconds, of a load in which the second lies."""
    due = time.time() + PLACE_SECONDS
    loop.run(_place(at.bank.address, [number % ACCOUNTS for number in range(DUE_HOLDS)], due))
    if time.time() > due - at.scratch.seconds:
        raise SystemExit("the holds fall due before all of them were placed")
    time.sleep(due - at.scratch.seconds / 2 - time.time())
    return at.deposits().p99_us


async def _place(address: str, accounts: Sequence[int], due: float) -> None:
    """A hold on each. All fall due in the second that begins at `due`, in Unix seconds."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = BatchesServiceStub(channel)
        for start in range(0, len(accounts), AT_A_TIME):
            some = accounts[start : start + AT_A_TIME]
            commands = [
                batches.BatchCommand(place_hold=_hold(account, due + number / AT_A_TIME))
                for number, account in enumerate(some)
            ]
            batch = batches.ExecuteBatchRequest(mode=batches.BATCH_MODE_INDEPENDENT, commands=commands)
            answer = await stub.ExecuteBatch(batch)
            for result in answer.results:
                if result.HasField("status"):
                    raise SystemExit(f"a hold was refused: {result.status.message}")


def _hold(account: int, due: float) -> holds.PlaceHoldRequest:
    expire_time = Timestamp(seconds=int(due), nanos=int(due % 1 * 1_000_000) * 1000)
    return holds.PlaceHoldRequest(
        request_id=str(uuid4()),
        account_id=messages.account_id(account),
        amount=messages.CENT,
        expire_time=expire_time,
    )


EXPERIMENTS = (open_holds, due_holds)

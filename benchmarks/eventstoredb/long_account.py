"""The first command on an account, and a replay of one, beside a short account."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import grpc

from benchmarks import history, messages
from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

LONG, SHORT = 100_000, 10
SHORT_ACCOUNTS = 100
"""Four a round."""
READY_SECONDS_MAX = 60
MS = "{:,.2f} of {:,.2f} ms"


@experiment(
    Row("first command on an account of 100,000 events on EventStoreDB / of 10", 1.5, MS, at_most=True),
    Row("replay on an account of 100,000 events on EventStoreDB / of 10", 1.5, MS, at_most=True),
)
def first_calls(scratch: Scratch) -> Iterator[Round]:
    # Two long ones: one for the command, one for the replay.
    with Store(scratch.directory, "long", [LONG, LONG, *[SHORT] * SHORT_ACCOUNTS]) as store:
        shorts = iter(range(2, 2 + SHORT_ACCOUNTS))

        def measure() -> Sequence[Found]:
            with store.bank() as bank:
                # The first calls of a process and of a connection are like no other.
                _seconds_of(bank, next(shorts))
                _seconds_of(bank, next(shorts), SHORT)
                command, replay = _seconds_of(bank, next(shorts)), _seconds_of(bank, next(shorts), SHORT)
                long_command, long_replay = _seconds_of(bank, 0), _seconds_of(bank, 1, LONG)
            return (
                ratio(long_command * 1000, command * 1000),
                ratio(long_replay * 1000, replay * 1000),
            )

        yield measure


def _seconds_of(bank: ServerProcess, account: int, replayed: int = 0) -> float:
    """A deposit's; of the request with the revision `replayed` where one is given."""
    request_id = history.request_id(account, replayed) if replayed else ""
    with grpc.insecure_channel(bank.address) as channel:
        grpc.channel_ready_future(channel).result(READY_SECONDS_MAX)
        stub = AccountsServiceStub(channel)
        begin = time.perf_counter()
        answer = stub.Deposit(messages.deposit(account, request_id))
        used = time.perf_counter() - begin
    if answer.replayed != bool(replayed):
        raise SystemExit(f"replayed: {answer.replayed}")
    return used

"""The first command on an account, and a replay of one, beside a short account."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from benchmarks import history, messages
from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Measure, median, ratios
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

LONG, SHORT = 100_000, 10
READY_SECONDS_MAX = 60


def rows(scratch: Path, rounds: int, _seconds: float) -> Sequence[Measure]:
    # Two long ones: one for the command, one for the replay.
    commands: tuple[list[float], list[float]] = ([], [])
    replays: tuple[list[float], list[float]] = ([], [])
    with Store(scratch, "long", [LONG, LONG, *[SHORT] * (4 * rounds)]) as store:
        for number in range(rounds):
            first = 2 + 4 * number
            with store.bank() as bank:
                # The first calls of a process and of a connection are like no other.
                _seconds_of(bank, first)
                _seconds_of(bank, first + 1, SHORT)
                commands[1].append(_seconds_of(bank, first + 2))
                commands[0].append(_seconds_of(bank, 0))
                replays[1].append(_seconds_of(bank, first + 3, SHORT))
                replays[0].append(_seconds_of(bank, 1, LONG))
    return [_compared("first command", commands), _compared("replay", replays)]


def _compared(what: str, seconds: tuple[Sequence[float], Sequence[float]]) -> Measure:
    long, short = seconds
    note = f"{median(long) * 1e3:,.2f} of {median(short) * 1e3:,.2f} ms"
    name = f"{what} on an account of {LONG:,} events on EventStoreDB / of {SHORT}"
    return Measure(name, ratios(long, short), 1.5, note, at_most=True)


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

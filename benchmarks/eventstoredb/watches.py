"""Watches: the history of one account beside that of all, and many opened at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import history as embedded_history
from benchmarks import messages, servers, stored
from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Measure, median, ratios
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

EVENTS_EACH = 100
ACCOUNTS_LONG, ACCOUNTS_SHORT = 2_000, 20
TIMES = 20
AT_ONCE = 200
EMBEDDED = "embedded"


def rows(scratch: Path, rounds: int, _seconds: float) -> Sequence[Measure]:
    with (
        Store(scratch, "watched", [EVENTS_EACH] * ACCOUNTS_LONG) as long,
        Store(scratch, "watched, short", [EVENTS_EACH] * ACCOUNTS_SHORT) as short,
        long.bank() as bank,
        short.bank() as other,
    ):
        return [*_filtered("EventStoreDB", bank, other, rounds), _refused(bank, rounds)]


def embedded(scratch: Path, rounds: int, _seconds: float) -> Sequence[Measure]:
    scratch.mkdir(exist_ok=True)
    long, short = scratch / "watched", scratch / "watched, short"
    for data, accounts in ((long, ACCOUNTS_LONG), (short, ACCOUNTS_SHORT)):
        embedded_history.write_accounts(data, [EVENTS_EACH] * accounts)
    with servers.bank(long) as bank, servers.bank(short) as other:
        while stored.projected(long) < EVENTS_EACH * ACCOUNTS_LONG:
            time.sleep(0.05)
        return _filtered(EMBEDDED, bank, other, rounds)


def _filtered(where: str, bank: ServerProcess, other: ServerProcess, rounds: int) -> Sequence[Measure]:
    filters = {
        "account": WatchAccountEventsRequest(account_ids=[messages.account_id(3)]),
        "owner": WatchAccountEventsRequest(owner_ids=[messages.owner_id(0)]),
    }
    found = []
    for kind, request in filters.items():
        request.beginning.CopyFrom(Empty())
        request.stop_when_caught_up = True
        long, short = [], []
        for _ in range(rounds):
            long.append(_cpu(bank, request))
            short.append(_cpu(other, request))
        note = f"{median(long) * 1e3:,.1f} of {median(short) * 1e3:,.1f} ms of processor time"
        name = (
            f"history of one {kind} on {where}, of {ACCOUNTS_LONG * EVENTS_EACH:,} events"
            f" / of {ACCOUNTS_SHORT * EVENTS_EACH:,}"
        )
        found.append(Measure(name, ratios(long, short), 1.5, note, at_most=True))
    return found


def _cpu(bank: ServerProcess, request: WatchAccountEventsRequest) -> float:
    begin = bank.cpu_seconds()
    with grpc.insecure_channel(bank.address) as channel:
        stub = AccountsServiceStub(channel)
        for _ in range(TIMES):
            events = sum(len(response.events) for response in stub.WatchAccountEvents(request))
            if events % EVENTS_EACH or not events:
                raise SystemExit(f"{events} events were delivered")
    return (bank.cpu_seconds() - begin) / TIMES


def _refused(bank: ServerProcess, rounds: int) -> Measure:
    refused = [float(asyncio.run(_open(bank.address))) for _ in range(rounds)]
    name = f"of {AT_ONCE} watches opened at once on EventStoreDB, refused"
    return Measure(name, refused, 0, "", at_most=True, unit="watches")


async def _open(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AccountsServiceStub(channel)

        async def first() -> bool:
            call = stub.WatchAccountEvents(WatchAccountEventsRequest(live=Empty()))
            try:
                await call.read()
            except grpc.aio.AioRpcError:
                return True
            finally:
                call.cancel()
            return False

        return sum(await asyncio.gather(*(first() for _ in range(AT_ONCE))))

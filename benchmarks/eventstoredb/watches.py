"""Watches: the history of one account beside that of all, and many opened at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import loop, messages, servers
from benchmarks.eventstoredb.banks import Store
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

EVENTS_EACH = 100
ACCOUNTS_LONG, ACCOUNTS_SHORT = 2_000, 20
TIMES = 20
AT_ONCE = 200
FILTERS = {
    "account": WatchAccountEventsRequest(account_ids=[messages.account_id(3)]),
    "owner": WatchAccountEventsRequest(owner_ids=[messages.owner_id(0)]),
}


def _filtered(where: str) -> Sequence[Row]:
    note = "{:,.1f} of {:,.1f} ms of processor time"
    name = "history of one {} on {}, of 200,000 events / of 2,000"
    return [Row(name.format(kind, where), 1.5, note, at_most=True) for kind in FILTERS]


@experiment(
    *_filtered("EventStoreDB"),
    Row("of 200 watches opened at once on EventStoreDB, refused", 0, at_most=True, unit="watches"),
)
def on_eventstoredb(scratch: Scratch) -> Iterator[Round]:
    with (
        Store(scratch.directory, "watched", [EVENTS_EACH] * ACCOUNTS_LONG) as long,
        Store(scratch.directory, "watched, short", [EVENTS_EACH] * ACCOUNTS_SHORT) as short,
        long.bank() as bank,
        short.bank() as other,
    ):
        yield lambda: [*_compared(bank, other), Found(loop.run(_open(bank.address)))]


@experiment(*_filtered("the embedded store"))
def embedded(scratch: Scratch) -> Iterator[Round]:
    long = scratch.copy_history("watched", [EVENTS_EACH] * ACCOUNTS_LONG)
    short = scratch.copy_history("watched, short", [EVENTS_EACH] * ACCOUNTS_SHORT)
    with servers.bank(long) as bank, servers.bank(short) as other:
        yield lambda: _compared(bank, other)


def _compared(bank: ServerProcess, other: ServerProcess) -> Sequence[Found]:
    return [ratio(_cpu(bank, filter) * 1000, _cpu(other, filter) * 1000) for filter in FILTERS.values()]


def _cpu(bank: ServerProcess, filter: WatchAccountEventsRequest) -> float:
    """Seconds for the whole history."""
    request = WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    request.MergeFrom(filter)
    begin = bank.cpu_seconds()
    with grpc.insecure_channel(bank.address) as channel:
        stub = AccountsServiceStub(channel)
        for _ in range(TIMES):
            events = sum(len(response.events) for response in stub.WatchAccountEvents(request))
            if events % EVENTS_EACH or not events:
                raise SystemExit(f"{events} events were delivered")
    return (bank.cpu_seconds() - begin) / TIMES


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

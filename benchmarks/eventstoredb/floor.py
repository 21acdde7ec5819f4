"""What gRPC alone takes on the way to EventStoreDB, beside the store: `python -m benchmarks.eventstoredb.floor`.

All figures are processor time of this process.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import grpc
from esdbclient.protos.Grpc import streams_pb2
from esdbclient.protos.Grpc.streams_pb2_grpc import StreamsStub
from grpc.experimental import ChannelOptions

from benchmarks import history, loop
from benchmarks.bench import MANY as IN_FLIGHT
from benchmarks.eventstoredb.banks import Store
from benchmarks.eventstoredb.reading import ACCOUNTS, EVENTS, EVENTS_EACH, read_us
from openbank.eventstore.eventstoredb.append_messages import append_request
from openbank.eventstore.eventstoredb.read_request import read_request
from openbank.eventstore.port import NO_STREAM
from openbank.eventstore.streams import ACCOUNT

ROUNDS = 5
APPENDS = 5_000
CALLS = 16
ON_THE_CALLERS_THREAD = [(ChannelOptions.SingleThreadedUnaryStream, 1)]

Answer = asyncio.Future[streams_pb2.BatchAppendResp]


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="openbank-floor-") as directory,
        Store(Path(directory), "floor", [EVENTS_EACH] * ACCOUNTS) as store,
    ):
        target = store.server.address
        ways: Mapping[str, Callable[[], Awaitable[float]]] = {
            "read an event by grpc.aio": lambda: _read_by_aio(target),
            "read an event by a synchronous channel, on the caller's thread": lambda: _read_on_this_thread(target),
            "read an event by the store": lambda: read_us(store.server.uri),
            f"append an event, {IN_FLIGHT} in flight, on one call": lambda: _append(target, 1),
            f"append an event, {IN_FLIGHT} in flight, on {CALLS} calls": lambda: _append(target, CALLS),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(loop.run(way()))
    for name, us in found.items():
        print(f"{statistics.median(us):6.1f} us ({min(us):.1f} to {max(us):.1f})  {name}")


def _everything() -> streams_pb2.ReadReq:
    return read_request(commit_position=None, limit=2 * EVENTS, prefixes=[f"{ACCOUNT}-"])


async def _read_by_aio(target: str) -> float:
    async with grpc.aio.insecure_channel(target) as channel:
        begin = time.process_time()
        count = len([event async for event in StreamsStub(channel).Read(_everything())])
        return _us(begin, count, EVENTS)


async def _read_on_this_thread(target: str) -> float:
    with grpc.insecure_channel(target, ON_THE_CALLERS_THREAD) as channel:
        begin = time.process_time()
        count = len(list(StreamsStub(channel).Read(_everything())))
        return _us(begin, count, EVENTS)


async def _append(target: str, calls: int) -> float:
    """Each to a stream of its own, of no category: reads do not see them."""
    event = history.event(0, 2)
    requests = [
        append_request(f"floor-{uuid4()}", NO_STREAM, [event._replace(id=uuid4().bytes)], number)
        for number in range(APPENDS)
    ]
    asked: asyncio.Queue[streams_pb2.BatchAppendReq] = asyncio.Queue()
    waiting: dict[str, Answer] = {}
    left = iter(requests)

    async def caller() -> int:
        answers = 0
        for request in left:
            waiting[request.correlation_id.string] = answer = asyncio.get_running_loop().create_future()
            asked.put_nowait(request)
            answers += (await answer).HasField("success")
        return answers

    async with grpc.aio.insecure_channel(target) as channel:
        stub = StreamsStub(channel)
        receiving = [asyncio.create_task(_receive(stub.BatchAppend(_sent(asked)), waiting)) for _ in range(calls)]
        begin = time.process_time()
        count = sum(await asyncio.gather(*(caller() for _ in range(IN_FLIGHT))))
        used = _us(begin, count, APPENDS)
        await _cancel(receiving)
        return used


async def _sent(asked: asyncio.Queue[streams_pb2.BatchAppendReq]) -> AsyncIterator[streams_pb2.BatchAppendReq]:
    while True:
        yield await asked.get()


async def _receive(answers: AsyncIterator[streams_pb2.BatchAppendResp], waiting: dict[str, Answer]) -> None:
    async for answer in answers:
        waiting.pop(answer.correlation_id.string).set_result(answer)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _us(begin: float, count: int, expected: int) -> float:
    used = time.process_time() - begin
    if count != expected:
        raise SystemExit(f"{count} of {expected} events")
    return used / count * 1e6


if __name__ == "__main__":
    main()

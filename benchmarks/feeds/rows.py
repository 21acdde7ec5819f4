"""What is measured of feeds, and what it is measured against."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import grown, messages, servers
from benchmarks.feeds.watching import Watched, replay, watching
from benchmarks.load import load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS, seed
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

REPLAYED = 200_000
SAVED_MESSAGES = 200
MANY = 1_000
FEW = 100
IDLE = 10
IN_FLIGHT = 64
COMMITS_PER_SECOND = 1_000.0


@experiment(
    Row("replay of 200,000 events to one client", 200_000, "{:,.0f} events a message", unit="events/s"),
    Row("replay of 200,000 events to one client / bare stream", 0.05, "{:,.0f} of {:,.0f} events/s"),
)
def replayed(scratch: Scratch) -> Iterator[Round]:
    data, bodies = scratch.copy_history("replayed", grown.HISTORY), scratch.directory / "from the beginning"
    write_bodies(bodies, [WatchAccountEventsRequest(beginning=Empty())])
    with servers.bank(data) as bank, _bare(scratch, "history", _history(bank)) as bare:

        def measure() -> Sequence[Found]:
            other, run = (replay(server.address, bodies, REPLAYED) for server in (bare, bank))
            return Found(run.per_second, (_each(run),)), ratio(run.per_second, other.per_second)

        yield measure


@experiment(
    Row("deposits beside 1,000 live watchers of everything / without", 0.5, "{:,.0f} of {:,.0f} deposits/s"),
    Row("deposits beside 1,000 live watchers of an account each / without", 0.5, "{:,.0f} of {:,.0f} deposits/s"),
    Row("deliveries to 1,000 live watchers", 500_000, "beside {:,.0f} deposits/s", unit="events/s"),
    Row(
        "deliveries to 1,000 live watchers / bare streams",
        0.5,
        "{:,.0f} of {:,.0f} events/s, bare in messages of as many events",
    ),
    Row("memory with 1,000 watchers of which 10 never read", 250, at_most=True, unit="MB"),
)
def many_watchers(scratch: Scratch) -> Iterator[Round]:
    """Beside as many deposits as the bank takes, and the same deposits without them."""
    directory = scratch.directory
    write_bodies(directory / "one account each", (_watch_one(number) for number in range(ACCOUNTS)))
    with _watched(scratch) as bank:

        def measure() -> Sequence[Found]:
            alone = _deposits(scratch, bank)
            with watching(bank.address, directory / "live", MANY, idle=IDLE) as made:
                watched = _deposits(scratch, bank)
                memory = bank.resident_megabytes()
            run = made.result
            with watching(bank.address, directory / "one account each", MANY):
                of_one_each = _deposits(scratch, bank)
            bare = _bare_run(scratch, bank, round(_each(run)))
            return (
                ratio(watched, alone),
                ratio(of_one_each, alone),
                Found(run.per_second, (watched,)),
                ratio(run.per_second, bare.per_second),
                Found(memory),
            )

        yield measure


@experiment(
    Row(
        "p99 from commit to 100 watchers at 1,000 commits/s",
        50,
        "p50 {:.1f} ms, at {:,.0f} commits/s; from the record time, which is before the commit",
        at_most=True,
        unit="ms",
    )
)
def latency(scratch: Scratch) -> Iterator[Round]:
    with _watched(scratch) as bank:

        def measure() -> Sequence[Found]:
            with watching(bank.address, scratch.directory / "live", FEW, latencies=True) as made:
                commits = _deposits(scratch, bank, COMMITS_PER_SECOND)
            return [Found(made.result.p99_us / 1000, (made.result.p50_us / 1000, commits))]

        yield measure


@contextmanager
def _watched(scratch: Scratch) -> Iterator[ServerProcess]:
    write_bodies(scratch.directory / "deposits", (messages.deposit(number) for number in range(ACCOUNTS)))
    write_bodies(scratch.directory / "live", [WatchAccountEventsRequest(live=Empty())])
    with servers.bank(scratch.directory / "watched") as bank:
        seed(bank.address)
        yield bank


def _history(bank: ServerProcess) -> list[bytes]:
    """The bank's own messages, for the bare stream to give."""
    with grpc.insecure_channel(bank.address) as channel:
        stream = AccountsServiceStub(channel).WatchAccountEvents(WatchAccountEventsRequest(beginning=Empty()))
        found = [next(stream).SerializeToString() for _ in range(SAVED_MESSAGES)]
        stream.cancel()
    return found[1:]


def _watch_one(number: int) -> WatchAccountEventsRequest:
    return WatchAccountEventsRequest(live=Empty(), account_ids=[messages.account_id(number)])


def _bare_run(scratch: Scratch, bank: ServerProcess, events: int) -> Watched:
    with _bare(scratch, "live messages", [_message(bank, events)]) as bare:
        with watching(bare.address, scratch.directory / "live", MANY, idle=IDLE) as made:
            time.sleep(scratch.seconds)
        return made.result


def _deposits(scratch: Scratch, bank: ServerProcess, per_second: float = 0.0) -> float:
    path, bodies = messages.path("Deposit"), scratch.directory / "deposits"
    return load(bank.address, path, bodies, IN_FLIGHT, seconds=scratch.seconds, per_second=per_second).per_second


def _message(bank: ServerProcess, events: int) -> bytes:
    """One of the bank's, with so many events."""
    with grpc.insecure_channel(bank.address) as channel:
        stream = AccountsServiceStub(channel).WatchAccountEvents(WatchAccountEventsRequest(beginning=Empty()))
        next(stream)
        message = next(stream)
        stream.cancel()
    del message.events[max(1, events) :]
    return message.SerializeToString()


@contextmanager
def _bare(scratch: Scratch, name: str, streamed: Sequence[bytes]) -> Iterator[ServerProcess]:
    path = scratch.directory / name
    path.write_bytes(b"".join(len(message).to_bytes(4) + message for message in streamed))
    command = [sys.executable, "-m", "benchmarks.feeds.bare", str(path)]
    with ServerProcess(command, scratch.directory / "bare.log") as server:
        yield server


def _each(run: Watched) -> float:
    return run.events / max(1, run.messages)


EXPERIMENTS = (replayed, many_watchers, latency)

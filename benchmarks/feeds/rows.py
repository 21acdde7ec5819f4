"""What is measured of feeds, and what it is measured against."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import history, messages, servers
from benchmarks.feeds.watching import Watched, replay, watching
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
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


def rows(scratch: Path, rounds: int, seconds: float) -> Sequence[Measure]:
    """All of them, in `scratch`, where a long history may be already."""
    long = scratch / "long"
    if not long.exists():
        history.write(long)
    write_bodies(scratch / "deposits", (messages.deposit(number) for number in range(ACCOUNTS)))
    write_bodies(scratch / "from the beginning", [WatchAccountEventsRequest(beginning=Empty())])
    write_bodies(scratch / "live", [WatchAccountEventsRequest(live=Empty())])
    write_bodies(scratch / "one account each", (_watch_one(number) for number in range(ACCOUNTS)))
    replayed = _replay(scratch, long, rounds)
    with servers.bank(scratch / "watched") as bank:
        seed(bank.address)
        return [*replayed, *_many(scratch, bank, rounds, seconds), _latency(scratch, bank, rounds, seconds)]


def _replay(scratch: Path, data: Path, rounds: int) -> list[Measure]:
    runs, bare_runs = [], []
    with servers.bank(data) as bank, _bare(scratch, "history", _history(bank)) as bare:
        for _ in range(rounds):
            bare_runs.append(replay(bare.address, scratch / "from the beginning", REPLAYED))
            runs.append(replay(bank.address, scratch / "from the beginning", REPLAYED))
    rates, bare_rates = [run.per_second for run in runs], [run.per_second for run in bare_runs]
    note = f"{_each(runs):,.0f} events a message, {runs[-1].bytes / runs[-1].events:.0f} bytes each"
    name = f"replay of {REPLAYED:,} events to one client"
    return [
        Measure(name, rates, 200_000, note, unit="events/s"),
        Measure(f"{name} / bare stream", ratios(rates, bare_rates), 0.05, f"{median(bare_rates):,.0f} events/s bare"),
    ]


def _history(bank: ServerProcess) -> list[bytes]:
    """The bank's own messages, for the bare stream to give."""
    with grpc.insecure_channel(bank.address) as channel:
        stream = AccountsServiceStub(channel).WatchAccountEvents(WatchAccountEventsRequest(beginning=Empty()))
        found = [next(stream).SerializeToString() for _ in range(SAVED_MESSAGES)]
        stream.cancel()
    return found[1:]


def _many(scratch: Path, bank: ServerProcess, rounds: int, seconds: float) -> list[Measure]:
    """1,000 live watchers beside as many deposits as the bank takes, and the same deposits without them."""
    runs, bare_runs, watched, alone, memory, of_one_each = [], [], [], [], [], []
    for _ in range(rounds):
        alone.append(_deposits(scratch, bank, seconds))
        with watching(bank.address, scratch / "live", MANY, idle=IDLE) as made:
            watched.append(_deposits(scratch, bank, seconds))
            memory.append(_resident_mb(bank))
        runs.append(made.result)
        with watching(bank.address, scratch / "one account each", MANY):
            of_one_each.append(_deposits(scratch, bank, seconds))
        bare_runs.append(_bare_run(scratch, bank, round(_each([made.result])), seconds))
    rates, bare_rates = [run.per_second for run in runs], [run.per_second for run in bare_runs]
    note = f"beside {median(watched):,.0f} deposits/s; {_each(runs):,.0f} events a message"
    return [
        Measure(f"deliveries to {MANY:,} live watchers", rates, 500_000, note, unit="events/s"),
        Measure(
            f"deliveries to {MANY:,} live watchers / bare streams",
            ratios(rates, bare_rates),
            0.5,
            f"{median(bare_rates):,.0f} events/s bare, in messages of as many events",
        ),
        Measure(
            f"deposits beside {MANY:,} live watchers / without",
            ratios(watched, alone),
            0.5,
            f"{median(watched):,.0f} of {median(alone):,.0f} deposits/s",
        ),
        Measure(
            f"deposits beside {MANY:,} live watchers of an account each / without",
            ratios(of_one_each, alone),
            0.5,
            f"{median(of_one_each):,.0f} of {median(alone):,.0f} deposits/s",
        ),
        Measure(f"memory with {MANY:,} watchers of which {IDLE} never read", memory, 250, "", at_most=True, unit="MB"),
    ]


def _watch_one(number: int) -> WatchAccountEventsRequest:
    return WatchAccountEventsRequest(live=Empty(), account_ids=[messages.account_id(number)])


def _bare_run(scratch: Path, bank: ServerProcess, events: int, seconds: float) -> Watched:
    with _bare(scratch, "live messages", [_message(bank, events)]) as bare:
        with watching(bare.address, scratch / "live", MANY, idle=IDLE) as made:
            time.sleep(seconds)
        return made.result


def _latency(scratch: Path, bank: ServerProcess, rounds: int, seconds: float) -> Measure:
    runs, commits = [], []
    for _ in range(rounds):
        with watching(bank.address, scratch / "live", FEW, latencies=True) as made:
            commits.append(_deposits(scratch, bank, seconds, COMMITS_PER_SECOND))
        runs.append(made.result)
    p50 = median([run.p50_us for run in runs]) / 1000
    note = f"p50 {p50:.1f} ms, at {median(commits):,.0f} commits/s; from the record time, which is before the commit"
    name = f"p99 from commit to {FEW} watchers at {COMMITS_PER_SECOND:,.0f} commits/s"
    return Measure(name, [run.p99_us / 1000 for run in runs], 50, note, at_most=True, unit="ms")


def _deposits(scratch: Path, bank: ServerProcess, seconds: float, per_second: float = 0.0) -> float:
    path = messages.path("Deposit")
    done = load(bank.address, path, scratch / "deposits", IN_FLIGHT, seconds=seconds, per_second=per_second)
    return done.per_second


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
def _bare(scratch: Path, name: str, streamed: Sequence[bytes]) -> Iterator[ServerProcess]:
    path = scratch / name
    path.write_bytes(b"".join(len(message).to_bytes(4) + message for message in streamed))
    command = [sys.executable, "-m", "benchmarks.feeds.bare", str(path)]
    with ServerProcess(command, scratch / "bare.log") as server:
        yield server


def _each(runs: Sequence[Watched]) -> float:
    return median([run.events / max(1, run.messages) for run in runs])


def _resident_mb(server: ServerProcess) -> float:
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmRSS"))

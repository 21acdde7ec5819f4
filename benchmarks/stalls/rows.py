"""A row for each trouble. A bank with 1,000,000 events, started for each of them; a process beside it checks health."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from benchmarks import history, loop, servers
from benchmarks.measure import Experiment, Found, Round, Row, experiment
from benchmarks.scratch import Scratch
from benchmarks.seed import register
from benchmarks.servers import ServerProcess
from benchmarks.stalls import troubles
from benchmarks.stalls.pulse import Pulse
from benchmarks.stalls.troubles import Scene, Trouble
from openbank.rpc.health import QUERIES, SERVING
from openbank.views.sqlite import FILE as VIEWS
from openbank.views.sqlite import NEXT_FILE as NEXT_VIEWS

STALL_MS_MAX = 100
ROUNDS = 3
LOOK_SECONDS = 0.1
PERSONS = 1_000
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class Case(NamedTuple):
    during: str
    trouble: Trouble
    rebuild: bool = False
    """Whether the views are being rebuilt; otherwise they have caught up with the log first."""
    unread: bool = False
    """Whether nobody reads the server's log."""
    beside_bare: bool = False
    """Whether a bare gRPC server goes through the same, as a yardstick."""


CASES = (
    Case("nothing happens", troubles.nothing),
    Case("64 deposits are in flight", troubles.deposits, beside_bare=True),
    Case("16 deposits with 1 MB of unknown fields are in flight", troubles.unknown_fields, beside_bare=True),
    Case("16 deposits with 8,000 unknown fields are in flight", troubles.unknown_fields_within_the_limit),
    Case("16 deposits with a description of 1 MB are in flight", troubles.long_descriptions, beside_bare=True),
    Case("64 deposits are in flight, views being rebuilt", troubles.deposits, rebuild=True),
    Case("64 deposits are in flight, new views being filled beside", troubles.deposits_beside_a_rebuild),
    Case("8 ATOMIC batches of 500 are in flight", troubles.atomic_batches),
    Case("8 INDEPENDENT batches of 500 are in flight", troubles.independent_batches),
    Case("1,000 reads wait for views that are being rebuilt", troubles.waiting_reads, rebuild=True, beside_bare=True),
    Case("100 replays at once ask for revision 100,001", troubles.replays),
    Case("32 pages of 1,000 items are in flight", troubles.full_pages),
    Case("16 watches with 2,000 ids are being opened", troubles.full_filters),
    Case("8 watches are being opened at a time", troubles.starts_at_a_time),
    Case("8 watches are being opened at a time, views being rebuilt", troubles.starts_at_a_time, rebuild=True),
    Case("nobody reads standard error", troubles.reads, unread=True),
    Case("another process holds the lock of events.db", troubles.locked_events),
    Case("another process holds the lock of views.db", troubles.locked_views),
)


def _experiment(case: Case) -> Experiment:
    note = "of which the server worked {:.0f} ms"
    if case.beside_bare:
        note += "; a bare gRPC server {:.0f} ms, of which it worked {:.0f}"
    row = Row(f"longest wait of a health check while {case.during}", STALL_MS_MAX, note, at_most=True, unit="ms")

    @experiment(row, rounds=ROUNDS, long=True)
    def waits(scratch: Scratch) -> Iterator[Round]:
        data = scratch.shared("stalls", _write)

        def measure() -> Sequence[Found]:
            pulse = _pulse(data, case, scratch.seconds)
            figures = [pulse.worked_ms]
            if case.beside_bare:
                bare = _bare_pulse(data, case, scratch.seconds)
                figures += [bare.stall_ms, bare.worked_ms]
            return [Found(pulse.stall_ms, tuple(figures))]

        yield measure

    return waits


EXPERIMENTS = tuple(map(_experiment, CASES))


def _write(data: Path) -> None:
    """A bank of 1,000,000 events, and persons for pages of them."""
    history.write(data)
    with servers.bank(data) as bank:
        loop.run(_register(bank.address))
        _wait_for_views(bank.address)


async def _register(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        for start in range(0, PERSONS, 100):
            await asyncio.gather(*[register(channel, number) for number in range(start, start + 100)])


def _pulse(data: Path, case: Case, seconds: float) -> Pulse:
    with _views(data, case.rebuild), _bank(data, case.unread) as bank:
        if not case.rebuild:
            _wait_for_views(bank.address)
        with Pulse(bank) as pulse:
            loop.run(_make(case.trouble, bank.address, data, seconds))
    # Else the next bank would continue to fill them.
    for file in data.glob(f"{NEXT_VIEWS}*"):
        file.unlink()
    return pulse


def _bare_pulse(data: Path, case: Case, seconds: float) -> Pulse:
    with servers.bare(data.with_name("bare.log")) as bare, Pulse(bare) as pulse:
        loop.run(_make(case.trouble, bare.address, data, seconds))
    return pulse


@contextmanager
def _views(data: Path, rebuild: bool) -> Iterator[None]:
    """Takes the views away for the length of the block, so that the bank rebuilds them."""
    aside = data.with_name("views")
    if rebuild:
        _move(data, aside)
    yield
    if rebuild:
        _move(aside, data)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for file in target.glob(f"{VIEWS}*"):
        file.unlink()
    for file in source.glob(f"{VIEWS}*"):
        file.rename(target / file.name)


def _wait_for_views(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = HealthStub(channel)
        while stub.Check(HealthCheckRequest(service=QUERIES)).status != SERVING:
            time.sleep(LOOK_SECONDS)


async def _make(trouble: Trouble, address: str, data: Path, seconds: float) -> None:
    async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:
        await trouble(Scene(channel, data, seconds))


@contextmanager
def _bank(data: Path, unread: bool) -> Iterator[ServerProcess]:
    log = data.with_name(f"{data.name}.log")
    if not unread:
        with servers.bank(data) as bank:
            yield bank
        return
    log.unlink(missing_ok=True)
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with servers.bank(data) as bank:
            yield bank
    finally:
        os.close(reader)
        log.unlink()

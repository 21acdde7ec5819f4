"""Deposits on a fresh bank, beside the echo and the eventsourcing library: 64 in flight, 8, and one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from benchmarks import stored
from benchmarks.bench import FEW, Bench, bench
from benchmarks.measure import Found, Round, Row, experiment, median, ratio
from benchmarks.scratch import Scratch
from benchmarks.servers import ROOT

SYNCS = 200
SYNCED_BYTES = 8192


@experiment(
    Row("Deposit / echo, 64 in flight, distinct accounts", 0.62, "{:,.0f} of {:,.0f} calls/s; p99 {:.1f} of {:.1f} ms"),
    Row("server CPU a Deposit / an echo", 1.75, "{:,.0f} of {:,.0f} us, in the same runs", at_most=True),
    Row("Deposit over gRPC / the eventsourcing library in process", 2.5, "{:,.0f} of {:,.0f} deposits/s"),
    Row("64 in flight on one account / on distinct accounts", 0.8, "{:,.0f} of {:,.0f} calls/s"),
    Row("disk a deposit, log and its indexes", 300, "{:,.0f} deposits", at_most=True, unit="bytes"),
)
def many(scratch: Scratch) -> Iterator[Round]:
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            size, deposited = stored.size(at.data), at.deposited
            begin = at.echo.cpu_seconds()
            echo = at.echoes()
            echo_us = (at.echo.cpu_seconds() - begin) / echo.all_calls * 1e6
            begin = at.bank.cpu_seconds()
            bank = at.deposits()
            bank_us = (at.bank.cpu_seconds() - begin) / bank.all_calls * 1e6
            one = at.deposits(bodies="deposits to one")
            deposited = at.deposited - deposited
            return (
                ratio(bank.per_second, echo.per_second, bank.p99_us / 1000, echo.p99_us / 1000),
                ratio(bank_us, echo_us),
                ratio(bank.per_second, _library(at)),
                ratio(one.per_second, bank.per_second),
                Found((stored.size(at.data) - size) / deposited, (deposited,)),
            )

        yield measure


@experiment(
    Row("Deposit / echo, 8 in flight", 0.5, "{:,.0f} of {:,.0f} calls/s"),
    Row(
        "one Deposit at a time: p50 / (echo's p50 + one fdatasync)",
        2.3,
        "{:,.0f} us of {:,.0f}, of which fdatasync {:,.0f}",
        at_most=True,
    ),
)
def few(scratch: Scratch) -> Iterator[Round]:
    with bench(scratch) as at:

        def measure() -> Sequence[Found]:
            sync_us = _sync_seconds(at.data) * 1e6
            echo, bank = at.echoes(1).p50_us, at.deposits(1).p50_us
            echoes, deposits = at.echoes(FEW), at.deposits(FEW)
            return ratio(deposits.per_second, echoes.per_second), ratio(bank, echo + sync_us, sync_us)

        yield measure


def _library(at: Bench) -> float:
    """Deposits a second, in a process and a file of its own."""
    file = at.scratch.directory / f"library-{uuid4()}.db"
    command = [sys.executable, "-m", "benchmarks.library", str(file), "--seconds", str(at.scratch.seconds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def _sync_seconds(directory: Path) -> float:
    """What a commit cannot do without on this disk: as many bytes as one writes, and fdatasync."""
    file = os.open(directory / "synced", os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(file, bytes(SYNCED_BYTES * SYNCS), 0)
        os.fsync(file)
        taken = []
        for number in range(SYNCS):
            os.pwrite(file, os.urandom(SYNCED_BYTES), number * SYNCED_BYTES)
            begin = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - begin)
        return median(taken)
    finally:
        os.close(file)
        (directory / "synced").unlink()


EXPERIMENTS = (many, few)

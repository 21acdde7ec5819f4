"""What is measured of a bank that serves, with the bare echo beside it, turn by turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.message import Message

from benchmarks import instructions, messages, servers, stored
from benchmarks.load import Load, load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS, OWNERS, seed
from benchmarks.servers import ROOT, ServerProcess
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

MANY = 64
FEW = 8
LISTED = 50
SYNCS = 200
SYNCED_BYTES = 8192


class Bench:
    """A bank with accounts, its echo, and the bodies to send to both."""

    def __init__(self, scratch: Path, bank: ServerProcess, echo: ServerProcess, rounds: int, seconds: float) -> None:
        self.scratch = scratch
        self.rounds = rounds
        self.seconds = seconds
        self.bank = bank
        self.echo = echo
        self.deposited = 0

    @property
    def data(self) -> Path:
        return self.scratch / "bank"

    def load(self, server: ServerProcess, method: str, in_flight: int, bodies: str) -> Load:
        done = load(server.address, messages.path(method), self.scratch / bodies, in_flight, seconds=self.seconds)
        if server is self.bank and method == "Deposit":
            self.deposited += done.all_calls
        return done

    def check(self) -> None:
        """As many deposits in the store as there were calls."""
        held = stored.deposits(self.data)
        if held != self.deposited:
            raise SystemExit(f"the store holds {held} deposits, {self.deposited} calls were answered")


@contextmanager
def bench(scratch: Path, rounds: int, seconds: float) -> Iterator[Bench]:
    write_bodies(scratch / "deposits", (messages.deposit(number) for number in range(ACCOUNTS)))
    write_bodies(scratch / "deposits to one", [messages.deposit(0)])
    write_bodies(scratch / "gets", (messages.get_account(number) for number in range(ACCOUNTS)))
    write_bodies(scratch / "lists", (messages.list_accounts(number) for number in range(OWNERS)))
    with servers.bank(scratch / "bank") as bank:
        seed(bank.address)
        _keep_answers(bank.address, scratch / "answers")
        with servers.echo(scratch / "answers") as echo:
            made = Bench(scratch, bank, echo, rounds, seconds)
            made.deposited = stored.deposits(made.data)
            yield made


def _keep_answers(address: str, directory: Path) -> None:
    """The bank's own answers, for the echo to give."""
    directory.mkdir()
    with grpc.insecure_channel(address) as channel:
        bank = AccountsServiceStub(channel)
        answers: dict[str, Message] = {
            "Deposit": bank.Deposit(messages.deposit(1, request_id="a3a0f1f0-6d4c-4f0e-9d2b-3f0f0c8f1e5d")),
            "GetAccount": bank.GetAccount(messages.get_account(1)),
            "ListAccountsByOwner": bank.ListAccountsByOwner(messages.list_accounts(1)),
        }
    for name, answer in answers.items():
        (directory / name).write_bytes(answer.SerializeToString())


def deposits(bench: Bench) -> list[Measure]:
    """64 in flight: beside the echo, beside the library, and all on one account."""
    size_before, deposited_before = stored.size(bench.data), bench.deposited
    echo, many, one, library = [], [], [], []
    echo_cpu, many_cpu = [], []
    for number in range(bench.rounds):
        begin = bench.echo.cpu_seconds()
        echo.append(bench.load(bench.echo, "Deposit", MANY, "deposits"))
        echo_cpu.append((bench.echo.cpu_seconds() - begin) / echo[-1].all_calls)
        begin = bench.bank.cpu_seconds()
        many.append(bench.load(bench.bank, "Deposit", MANY, "deposits"))
        many_cpu.append((bench.bank.cpu_seconds() - begin) / many[-1].all_calls)
        one.append(bench.load(bench.bank, "Deposit", MANY, "deposits to one"))
        library.append(_library(bench, number))
    bench.check()
    bytes_each = (stored.size(bench.data) - size_before) / (bench.deposited - deposited_before)
    rates, echo_rates, one_rates = ([run.per_second for run in runs] for runs in (many, echo, one))
    return [
        Measure(
            f"durable Deposit / echo, {MANY} in flight, distinct accounts",
            ratios(rates, echo_rates),
            0.85,
            f"{median(rates):,.0f} of {median(echo_rates):,.0f} calls/s; p99 {_p99_ms(many)} of {_p99_ms(echo)} ms",
        ),
        Measure(
            "server CPU time a Deposit / an echo",
            ratios(many_cpu, echo_cpu),
            1.35,
            f"{median(many_cpu) * 1e6:,.0f} of {median(echo_cpu) * 1e6:,.0f} us, in the same runs",
            at_most=True,
        ),
        Measure(
            "durable Deposit over gRPC / the eventsourcing library in process",
            ratios(rates, library),
            3.0,
            f"{median(rates):,.0f} beside {median(library):,.0f} deposits/s",
        ),
        Measure(
            f"{MANY} in flight on one account / on distinct accounts",
            ratios(one_rates, rates),
            0.8,
            f"{median(one_rates):,.0f} of {median(rates):,.0f} calls/s",
        ),
        Measure(
            "disk a deposit's event, log and its indexes",
            [bytes_each],
            300,
            f"{bench.deposited - deposited_before:,} deposits",
            at_most=True,
            unit="bytes",
        ),
    ]


def _library(bench: Bench, number: int) -> float:
    file = bench.scratch / f"library-{number}.db"
    command = [sys.executable, "-m", "benchmarks.library", str(file), "--seconds", str(bench.seconds)]
    return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def _p99_ms(runs: Sequence[Load]) -> str:
    return f"{median([run.p99_us for run in runs]) / 1000:.1f}"


def few(bench: Bench) -> list[Measure]:
    """One at a time, and 8 in flight."""
    lone, lone_bound, rates, echo_rates, notes = [], [], [], [], []
    for _ in range(bench.rounds):
        sync = _sync_seconds(bench.data) * 1e6
        echo = bench.load(bench.echo, "Deposit", 1, "deposits").p50_us
        lone.append(bench.load(bench.bank, "Deposit", 1, "deposits").p50_us)
        lone_bound.append(echo + sync)
        notes.append((echo, sync))
        echo_rates.append(bench.load(bench.echo, "Deposit", FEW, "deposits").per_second)
        rates.append(bench.load(bench.bank, "Deposit", FEW, "deposits").per_second)
    bench.check()
    echo, sync = (statistics.median(values) for values in zip(*notes, strict=True))
    return [
        Measure(
            "one Deposit at a time: p50 / (echo's p50 + one fdatasync)",
            ratios(lone, lone_bound),
            1.5,
            f"{median(lone):,.0f} us of {echo:,.0f} + {sync:,.0f} us",
            at_most=True,
        ),
        Measure(
            f"Deposit / echo, {FEW} in flight",
            ratios(rates, echo_rates),
            0.6,
            f"{median(rates):,.0f} of {median(echo_rates):,.0f} calls/s",
        ),
    ]


def _sync_seconds(directory: Path) -> float:
    """What a commit cannot do without on this disk: as much as one writes, and fdatasync."""
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
        return statistics.median(taken)
    finally:
        os.close(file)
        (directory / "synced").unlink()


def reads(bench: Bench) -> list[Measure]:
    return [
        _read(bench, "GetAccount", "GetAccount / echo", "gets"),
        _read(bench, "ListAccountsByOwner", f"ListAccountsByOwner of {LISTED} / echo of the same size", "lists"),
    ]


def _read(bench: Bench, method: str, name: str, bodies: str) -> Measure:
    runs = []
    for _ in range(bench.rounds):
        echo = bench.load(bench.echo, method, MANY, bodies)
        runs.append((bench.load(bench.bank, method, MANY, bodies), echo))
    rates, echo_rates = [run.per_second for run, _ in runs], [run.per_second for _, run in runs]
    size = median([run.response_bytes for run, _ in runs])
    note = f"{median(rates):,.0f} of {median(echo_rates):,.0f} calls/s, {size:,.0f} bytes"
    return Measure(name, ratios(rates, echo_rates), 0.85, note)


def instruction_ratio(bench: Bench) -> Measure:
    """A bank and an echo of their own, as the counter may have to run them itself."""
    name = "server instructions a Deposit / an echo"
    counter = instructions.tool()
    if counter is None:
        return Measure(name, [], 1.35, "neither perf's counter nor valgrind on this machine", at_most=True)

    def drive(address: str, calls: int, warm_up: float) -> Load:
        path, bodies = messages.path("Deposit"), bench.scratch / "deposits"
        return load(address, path, bodies, MANY, calls=calls, warm_up=warm_up)

    def start(under: Sequence[str]) -> ServerProcess:
        server = servers.bank(bench.scratch / "counted", under)
        seed(server.address)
        return server

    counted = instructions.per_call(counter, start, drive, bench.scratch)
    echoed = instructions.per_call(
        counter, lambda under: servers.echo(bench.scratch / "answers", under), drive, bench.scratch
    )
    note = f"{median(counted) / 1000:,.0f} of {median(echoed) / 1000:,.0f} thousand, by {counter}"
    return Measure(name, ratios(counted, echoed), 1.35, note, at_most=True)

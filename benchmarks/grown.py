"""What a deposit and a replay cost on a bank with a past: 1,000,000 events, on 20,000 accounts or on one.

Processor time of the server for each call, in turns with what it is compared to.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import history, messages, servers, stored
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS as FRESH_ACCOUNTS
from benchmarks.seed import seed
from benchmarks.servers import ServerProcess

ACCOUNTS = 20_000
EVENTS = 1_000_000
IN_FLIGHT = 64
COLD_KEPT = 1_000
"""Aggregates in memory of the bank where every deposit is to one that is not: it has twenty times as many."""
PROJECTED_SECONDS_MAX = 300


def rows(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    return [*_many_accounts(scratch, rounds, seconds), _replays(scratch, rounds, seconds)]


def _many_accounts(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    """The grown bank beside a fresh one, and beside itself with nothing in memory."""
    grown, cold = scratch / "grown", scratch / "grown, cold"
    history.write_accounts(grown, [EVENTS // ACCOUNTS] * ACCOUNTS)
    with servers.bank(grown):
        _projected(grown, EVENTS)
    shutil.copytree(grown, cold)
    few = write_bodies(scratch / "deposits to a fresh bank", map(messages.deposit, range(FRESH_ACCOUNTS)))
    numbers = random.Random(1).sample(range(ACCOUNTS), ACCOUNTS)
    many = write_bodies(scratch / "deposits to a grown bank", map(messages.deposit, numbers))
    with (
        servers.bank(scratch / "fresh") as fresh_bank,
        servers.bank(grown) as grown_bank,
        servers.bank(cold, flags=("--cached-aggregates", str(COLD_KEPT))) as cold_bank,
    ):
        seed(fresh_bank.address)
        # Every account once, so that those that fit into memory are there.
        for bank in (grown_bank, cold_bank):
            load(bank.address, messages.path("Deposit"), many, IN_FLIGHT, calls=ACCOUNTS)
        fresh_cpu, grown_cpu, cold_cpu = [], [], []
        for _ in range(rounds):
            fresh_cpu.append(_cpu(fresh_bank, few, seconds))
            grown_cpu.append(_cpu(grown_bank, many, seconds))
            cold_cpu.append(_cpu(cold_bank, many, seconds))
    return [
        _compared(
            f"Deposit on a bank of {ACCOUNTS:,} accounts and {EVENTS:,} events / on a fresh one",
            (grown_cpu, fresh_cpu),
            1.25,
        ),
        _compared("Deposit to an account that is not in memory / to one that is", (cold_cpu, grown_cpu), 1.5),
    ]


def _replays(scratch: Path, rounds: int, seconds: float) -> Measure:
    """Of requests from all of an account's past, beside new deposits to the same account."""
    data = scratch / "one account"
    history.write_accounts(data, [EVENTS])
    revisions = random.Random(1).sample(range(2, EVENTS + 1), 10_000)
    old = (messages.deposit(0, history.request_id(0, revision)) for revision in revisions)
    replays = write_bodies(scratch / "replays", old)
    deposits = write_bodies(scratch / "deposits to the long account", [messages.deposit(0)])
    with servers.bank(data) as bank:
        _projected(data, EVENTS)
        before = stored.deposits(data)
        replay_cpu, deposit_cpu, made = [], [], 0
        for _ in range(rounds):
            replay_cpu.append(_cpu(bank, replays, seconds))
            if stored.deposits(data) != before + made:
                raise SystemExit("a replay made a deposit")
            begin = bank.cpu_seconds()
            done = load(bank.address, messages.path("Deposit"), deposits, IN_FLIGHT, seconds=seconds)
            deposit_cpu.append((bank.cpu_seconds() - begin) / done.all_calls)
            made += done.all_calls
    return _compared(f"replay at any of {EVENTS:,} revisions / a new deposit there", (replay_cpu, deposit_cpu), 2.0)


def _cpu(bank: ServerProcess, bodies: Path, seconds: float) -> float:
    begin = bank.cpu_seconds()
    done = load(bank.address, messages.path("Deposit"), bodies, IN_FLIGHT, seconds=seconds)
    return (bank.cpu_seconds() - begin) / done.all_calls


def _compared(name: str, seconds: tuple[Sequence[float], Sequence[float]], aim: float) -> Measure:
    one, other = seconds
    note = f"{median(one) * 1e6:,.0f} of {median(other) * 1e6:,.0f} us of processor time"
    return Measure(name, ratios(one, other), aim, note, at_most=True)


def _projected(data: Path, events: int) -> None:
    end = time.perf_counter() + PROJECTED_SECONDS_MAX
    while stored.projected(data) < events:
        if time.perf_counter() > end:
            raise SystemExit(f"the views are not there within {PROJECTED_SECONDS_MAX} seconds")
        time.sleep(0.2)

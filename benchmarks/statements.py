"""What a page of a statement and a past balance cost on an account of 1,000,000 movements, beside one of 1,000."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from google.protobuf.message import Message

from benchmarks import history, messages, servers, stored
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from openbank.accounts.v1 import accounts_service_pb2 as accounts

LONG, SHORT = 1_000_000, 1_000
PAGE = 100
BODIES = 1_000
PROJECTED_SECONDS_MAX = 1_200

Requests = Callable[[int, int], Iterable[Message]]
"""Of an account with so many movements."""


def rows(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    data = scratch / "statements"
    history.write_accounts(data, [LONG, SHORT])
    with servers.bank(data) as bank:
        _projected(data)
        return [
            _compared(scratch, bank.address, method, requests, rounds, seconds)
            for method, requests in (("GetAccountStatement", _statements), ("GetAccountBalance", _balances))
        ]


def _projected(data: Path) -> None:
    end = time.perf_counter() + PROJECTED_SECONDS_MAX
    while stored.projected(data) < LONG + SHORT:
        if time.perf_counter() > end:
            raise SystemExit(f"not projected within {PROJECTED_SECONDS_MAX} seconds")
        time.sleep(0.1)


def _statements(account: int, movements: int) -> Iterable[Message]:
    """Periods that begin anywhere and go to the end."""
    for first in random.Random(account).choices(range(1, movements - PAGE), k=BODIES):
        period = accounts.RevisionPeriod(first_revision=first, last_revision=movements)
        account_id = messages.account_id(account)
        yield accounts.GetAccountStatementRequest(account_id=account_id, revisions=period, page_size=PAGE)


def _balances(account: int, movements: int) -> Iterable[Message]:
    for revision in random.Random(account).choices(range(1, movements), k=BODIES):
        yield accounts.GetAccountBalanceRequest(account_id=messages.account_id(account), revision=revision)


def _compared(scratch: Path, address: str, method: str, requests: Requests, rounds: int, seconds: float) -> Measure:
    bodies = [write_bodies(scratch / f"{method} {size}", requests(n, size)) for n, size in enumerate((LONG, SHORT))]
    long, short = [], []
    for _ in range(rounds):
        for body, measured in zip(bodies, (long, short), strict=True):
            measured.append(load(address, messages.path(method), body, 1, seconds=seconds).p50_us)
    name = f"{method} of an account with {LONG:,} movements / with {SHORT:,}, p50"
    note = f"{median(long):,.0f} of {median(short):,.0f} us"
    return Measure(name, ratios(long, short), 1.5, note, at_most=True)

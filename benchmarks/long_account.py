"""An account of 1,000,000 events beside one of 1,000: pages, past balances, replays and new deposits."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import Message

from benchmarks import history, messages, servers, stored
from benchmarks.bench import MANY
from benchmarks.cpu import used
from benchmarks.load import load, write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from openbank.accounts.v1 import accounts_service_pb2 as accounts

LONG, SHORT = 1_000_000, 1_000
PAGE = 100
BODIES = 1_000
US = "{:,.0f} of {:,.0f} us"


@experiment(
    Row("GetAccountStatement, a page of an account of 1,000,000 movements / of 1,000: p50", 1.5, US, at_most=True),
    Row("GetAccountBalance at a revision of an account of 1,000,000 movements / of 1,000: p50", 1.5, US, at_most=True),
)
def pages(scratch: Scratch) -> Iterator[Round]:
    data = scratch.copy_history("long", [LONG, SHORT])
    methods = {"GetAccountStatement": _statements, "GetAccountBalance": _balances}
    bodies = {
        (method, size): write_bodies(scratch.directory / f"{method} {size}", requests(number, size))
        for method, requests in methods.items()
        for number, size in enumerate((LONG, SHORT))
    }
    with servers.bank(data) as bank:

        def p50_us(method: str, size: int) -> float:
            path = messages.path(method)
            return load(bank.address, path, bodies[method, size], 1, seconds=scratch.seconds).p50_us

        yield lambda: [ratio(p50_us(method, LONG), p50_us(method, SHORT)) for method in methods]


@experiment(
    Row("replay at any revision of an account of 1,000,000 events / a new Deposit there", 2.0, US, at_most=True),
    Row("Deposit on an account of 1,000,000 events / on one of 1,000", 1.3, US, at_most=True),
)
def replays(scratch: Scratch) -> Iterator[Round]:
    """By processor time, 64 in flight."""
    data = scratch.copy_history("long", [LONG, SHORT])
    revisions = random.Random(1).sample(range(2, LONG + 1), 10_000)
    old = (messages.deposit(0, history.request_id(0, revision)) for revision in revisions)
    replayed = write_bodies(scratch.directory / "replays", old)
    long, short = (write_bodies(scratch.directory / f"to {n}", [messages.deposit(n)]) for n in (0, 1))
    path = messages.path("Deposit")
    made = stored.deposits(data)
    with servers.bank(data) as bank:

        def measure() -> Sequence[Found]:
            nonlocal made
            replay, on_long, on_short = (
                used(bank, path, bodies, MANY, seconds=scratch.seconds) for bodies in (replayed, long, short)
            )
            made += on_long.all_calls + on_short.all_calls
            if stored.deposits(data) != made:
                raise SystemExit("a replay made a deposit")
            return ratio(replay.us, on_long.us), ratio(on_long.us, on_short.us)

        yield measure


def _statements(account: int, movements: int) -> Iterable[Message]:
    """Periods that begin anywhere and go to the end."""
    for first in random.Random(account).choices(range(1, movements - PAGE), k=BODIES):
        period = accounts.RevisionPeriod(first_revision=first, last_revision=movements)
        account_id = messages.account_id(account)
        yield accounts.GetAccountStatementRequest(account_id=account_id, revisions=period, page_size=PAGE)


def _balances(account: int, movements: int) -> Iterable[Message]:
    for revision in random.Random(account).choices(range(1, movements), k=BODIES):
        yield accounts.GetAccountBalanceRequest(account_id=messages.account_id(account), revision=revision)


EXPERIMENTS = (pages, replays)

"""A bank's long log, written to the store itself: by calls it would take an hour."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.messages import account_id, owner_id
from openbank.domain.account import AccountOpened, MoneyDeposited
from openbank.domain.money import Currency, Money
from openbank.eventstore import codec
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.eventstore.streams import account_stream

EVENTS = 1_000_000
ACCOUNTS = 100_000
LONG_ACCOUNTS = 5
"""The first of all accounts."""
LONG_EVENTS = 100_000
SHORT_EVENTS = 10
"""Of the SHORT_ACCOUNTS after the long ones. The rest has what is left of EVENTS, four or five each."""
SHORT_ACCOUNTS = 1_000

_DOLLARS = Currency("USD", 2)
_AMOUNT = 1250
_TIME = 1_700_000_000_000_000
_AT_A_TIME = 1_000


def write(directory: Path) -> None:
    directory.mkdir()
    asyncio.run(_write(directory))


async def _write(directory: Path) -> None:
    store = SqliteEventStore(directory)
    try:
        heads = [0] * ACCOUNTS
        for turn in _turns():
            appends = []
            for account, count in turn:
                events = [_event(account, heads[account] + number) for number in range(1, count + 1)]
                appends.append(store.append(account_stream(account_id(account)), heads[account], events))
                heads[account] += count
            await asyncio.gather(*appends)
    finally:
        await store.close()


def _turns() -> Iterator[Sequence[tuple[int, int]]]:
    """What is appended together: accounts and how many events each. Long accounts grow among the others."""
    wanted = [LONG_EVENTS] * LONG_ACCOUNTS + [SHORT_EVENTS] * SHORT_ACCOUNTS
    left = EVENTS - sum(wanted)
    others = ACCOUNTS - len(wanted)
    wanted += [left // others + (number < left % others) for number in range(others)]
    rest = range(LONG_ACCOUNTS, ACCOUNTS)
    singles = [account for done in range(SHORT_EVENTS) for account in rest if wanted[account] > done]
    turns = -(-len(singles) // _AT_A_TIME)
    for turn in range(turns):
        some = [(account, 1) for account in singles[turn * _AT_A_TIME : (turn + 1) * _AT_A_TIME]]
        share = LONG_EVENTS * (turn + 1) // turns - LONG_EVENTS * turn // turns
        yield [*some, *((account, share) for account in range(LONG_ACCOUNTS))]


def _event(account: int, revision: int) -> NewEvent:
    paid = Money(_DOLLARS, _AMOUNT)
    balance = Money(_DOLLARS, _AMOUNT * revision)
    owner = owner_id(account // 5)
    event = (
        AccountOpened(account_id(account), owner, f"{account:012}", paid)
        if revision == 1
        else MoneyDeposited(paid, "Salary deposit", balance)
    )
    kind, data = codec.encode(event)
    metadata = Metadata(_TIME, os.urandom(16), os.urandom(16), "benchmark", "", owner, 0, 1)
    return NewEvent(os.urandom(16), kind, data, metadata)

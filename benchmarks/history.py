"""A bank's long log, written to the store itself: by calls it would take an hour."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from benchmarks import loop
from benchmarks.messages import account_id, owner_id
from openbank.aggregates import snapshots
from openbank.codec import events as codec
from openbank.domain.account import Account
from openbank.domain.account_events import AccountOpened, MoneyDeposited
from openbank.domain.money import Currency, Money
from openbank.domain.movements import Deposit
from openbank.domain.request import fingerprint
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import SNAPSHOT_EVENTS, Metadata, NewEvent, Snapshot
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.eventstore.streams import account_stream

EVENTS = 1_000_000
ACCOUNTS = 100_000
LONG_ACCOUNTS = 5
"""The first of all accounts."""
LONG_EVENTS = 100_000
SHORT_EVENTS = 10
"""For each of the SHORT_ACCOUNTS after the long ones. The rest share what is left of EVENTS, four or five each."""
SHORT_ACCOUNTS = 1_000

_DOLLARS = Currency("USD", 2)
_AMOUNT = 1250
_TIME = 1_700_000_000_000_000
_AT_A_TIME = 1_000


def write(directory: Path) -> None:
    directory.mkdir()
    loop.run(_write(directory, _turns(), ACCOUNTS))


def write_accounts(directory: Path, events: Sequence[int]) -> None:
    """A bank with so many events of each account, in turn, and with the snapshots that a bank would have kept."""
    directory.mkdir()
    loop.run(_write(directory, _in_turn(events), len(events)))


def request_id(account: int, revision: int) -> str:
    """That of an event."""
    return str(UUID(bytes=_request_id(account, revision)))


async def _write(directory: Path, turns: Iterable[Sequence[tuple[int, int]]], accounts: int) -> None:
    store = SqliteEventStore(directory)
    try:
        heads = [0] * accounts
        for turn in turns:
            written = []
            for account, count in turn:
                events = [event(account, heads[account] + number) for number in range(1, count + 1)]
                written.append((account, heads[account], events))
                heads[account] += count
            await asyncio.gather(*(store.append(account_stream(account_id(one)), *more) for one, *more in written))
            for one in written:
                _keep_snapshots(store, *one)
    finally:
        await store.close()


def _keep_snapshots(store: SqliteEventStore, account: int, before: int, events: Sequence[NewEvent]) -> None:
    for revision, one in enumerate(events, before + 1):
        if revision % SNAPSHOT_EVENTS == 0:
            store.keep_snapshot(account_stream(account_id(account)), snapshot(account, revision, one.id))


def snapshot(account: int, revision: int, event_id: bytes) -> Snapshot:
    """What a bank would have kept after that event."""
    balance = Money(_DOLLARS, _AMOUNT * revision)
    state = Account(account_id(account), owner_id(account // 5), f"{account:012}", balance)
    return Snapshot(revision, event_id, snapshots.ACCOUNTS.encode(Versioned(state, revision, _TIME, _TIME)))


def _in_turn(events: Sequence[int]) -> Iterator[Sequence[tuple[int, int]]]:
    """An event of each account after another, or many at a time where there are few accounts."""
    left = dict(enumerate(events))
    while left:
        share = max(1, _AT_A_TIME // len(left))
        accounts = list(left)
        for start in range(0, len(accounts), _AT_A_TIME):
            yield [(account, min(left[account], share)) for account in accounts[start : start + _AT_A_TIME]]
        left = {account: count - share for account, count in left.items() if count > share}


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


def event(account: int, revision: int) -> NewEvent:
    """The one with this revision in an account's stream."""
    paid = Money(_DOLLARS, _AMOUNT)
    balance = Money(_DOLLARS, _AMOUNT * revision)
    owner = owner_id(account // 5)
    happened = (
        AccountOpened(account_id(account), owner, f"{account:012}", paid)
        if revision == 1
        else MoneyDeposited(paid, "Salary deposit", balance)
    )
    kind, data = codec.encode(happened)
    metadata = Metadata(_TIME, _request_id(account, revision), _hash(account), "benchmark", "", owner, 0, 1)
    return NewEvent(os.urandom(16), kind, data, metadata)


def _request_id(account: int, revision: int) -> bytes:
    return account.to_bytes(8) + revision.to_bytes(8)


@lru_cache(maxsize=ACCOUNTS)
def _hash(account: int) -> bytes:
    """The hash of the deposit that `messages.deposit` asks for."""
    return fingerprint("Deposit", Deposit(account_id(account), Money(_DOLLARS, _AMOUNT), "Salary deposit"))

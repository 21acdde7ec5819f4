"""A bank on disk in which John is registered and has the account a-1, number 123456789, with 1000.00 USD."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from openbank.commands import accounts, persons
from openbank.commands.write_side import WriteSide
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request
from openbank.eventstore.sqlite import SqliteEventStore
from tests.eventstore.interposed import InterposedStore
from tests.examples import JOHN, NOON, opening

Restart = Callable[[], Awaitable[WriteSide]]


class Watch:
    """A clock that a second passes on whenever it is looked at."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        self.now += 1_000_000
        return self.now


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
async def disk(tmp_path: Path, clock: Watch) -> AsyncIterator[SqliteEventStore]:
    store = SqliteEventStore(tmp_path)
    bank = WriteSide(store, clock, kept_max=100)
    await persons.register_person(bank, RegisterPerson(JOHN), Request())
    await accounts.open_account(bank, opening(account_id="a-1"), Request())
    yield store
    await store.close()


@pytest.fixture
def store(disk: SqliteEventStore) -> Iterator[InterposedStore]:
    store = InterposedStore(disk)
    yield store
    store.burial.set()


@pytest.fixture
def bank(store: InterposedStore, clock: Watch) -> WriteSide:
    return WriteSide(store, clock, kept_max=100)


@pytest.fixture
async def restart(disk: SqliteEventStore, tmp_path: Path, clock: Watch) -> AsyncIterator[Restart]:
    """Ends the process, as far as the bank can tell, and starts it again on the same directory."""
    started: list[SqliteEventStore] = [disk]

    async def restart() -> WriteSide:
        await started[-1].close()
        started.append(SqliteEventStore(tmp_path))
        return WriteSide(started[-1], clock, kept_max=100)

    yield restart
    await started[-1].close()

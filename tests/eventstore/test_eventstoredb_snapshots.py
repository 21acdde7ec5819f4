"""Snapshots on EventStoreDB: long streams are decided on, and replayed, from a few events, by every instance."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from openbank.aggregates.history import NEAR, ONWARD
from openbank.aggregates.waiting import Written
from openbank.commands import accounts, persons
from openbank.commands.write_side import WriteSide
from openbank.domain import movements
from openbank.domain.account import Account
from openbank.domain.account_events import MoneyDeposited
from openbank.domain.movements import Deposit, OpenAccount
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.port import SNAPSHOT_EVENTS, Snapshot
from openbank.eventstore.request_index import Indexed
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from tests.examples import JOHN, NOON, usd
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb

STREAM = "account-a-1"
EVENTS = 6 * SNAPSHOT_EVENTS


class Index:
    """Knows all requests at once, as local views that are up to date do."""

    shared = False

    def __init__(self, revisions: dict[bytes, int]) -> None:
        self._revisions = revisions

    async def find_requests(self, stream: str, request_ids: object) -> Indexed:
        assert isinstance(request_ids, tuple)
        found = [self._revisions[one] for one in request_ids if one in self._revisions]
        return Indexed(found, max(self._revisions.values()))


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each read gave."""
    counts: list[int] = []
    original = Link.read

    async def counting(self: Link, **options: object) -> object:
        number = len(counts)
        counts.append(0)
        events = await original(self, **options)
        counts[number] = len(events)
        return events

    monkeypatch.setattr(Link, "read", counting)
    return counts


async def open_store(server: EventStoreDB, revisions: dict[bytes, int] | None = None) -> EventStoreDBEventStore:
    return await EventStoreDBEventStore.open(server.uri, request_index=Index(revisions) if revisions else None)


async def a_long_account(store: EventStoreDBEventStore) -> dict[bytes, Written[Account]]:
    """Its deposits by request id."""
    bank = WriteSide(store, lambda: NOON, kept_max=10)
    command = OpenAccount("a-1", "john", "1", usd(0))
    await bank.accounts.execute("a-1", lambda state: (movements.open_account(state, command),), Request())
    ids = [uuid4().bytes for _ in range(EVENTS - 1)]
    made = await asyncio.gather(*(deposit(bank, one) for one in ids))
    async with asyncio.timeout(5):
        while store._snapshots._writing:  # noqa: ASYNC110 - there is no event when they are written
            await asyncio.sleep(0.01)
    return dict(zip(ids, made, strict=True))


async def deposit(bank: WriteSide, request_id: bytes) -> Written[Account]:
    return await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request(request_id))


async def test_another_instance_decides_on_a_long_account_from_its_last_snapshot(
    server: EventStoreDB, reads: list[int]
) -> None:
    store = await open_store(server)
    made = await a_long_account(store)
    other = await open_store(server, {one: written.resource.revision for one, written in made.items()})
    reads.clear()
    written = await deposit(WriteSide(other, lambda: NOON, kept_max=10), os.urandom(16))
    assert (written.resource.revision, written.resource.state.balance) == (EVENTS + 1, usd(EVENTS))
    # The end of the stream and a snapshot.
    assert len(reads) == 2
    assert sum(reads) <= NEAR + 1
    await other.close()
    await store.close()


async def test_a_replay_takes_two_reads_at_any_revision(server: EventStoreDB, reads: list[int]) -> None:
    store = await open_store(server)
    made = await a_long_account(store)
    bank = WriteSide(store, lambda: NOON, kept_max=10)
    await bank.accounts.load("a-1")
    await deposit(bank, next(iter(made)))
    for request_id, was in made.items():
        reads.clear()
        assert (await deposit(bank, request_id))[:3] == was[:3]
        # The events up to the request's own, and the snapshot before it, at once.
        assert len(reads) <= 2
        assert sum(reads) <= NEAR + 2
    await store.close()


async def test_a_replay_by_an_instance_that_has_just_started_takes_one_step(
    server: EventStoreDB, reads: list[int]
) -> None:
    """What the account is decided on shows also what it was right after its last events."""
    store = await open_store(server)
    made = await a_long_account(store)
    revisions = {one: written.resource.revision for one, written in made.items()}
    request_id, was = list(made.items())[-1]
    other = await open_store(server, revisions)
    reads.clear()
    replayed = await deposit(WriteSide(other, lambda: NOON, kept_max=10), request_id)
    assert replayed == was._replace(replayed=True)
    # The event and the snapshot, at once.
    assert reads == [1, 1]
    await other.close()
    await store.close()


async def test_an_account_that_was_dropped_from_memory_comes_back_without_a_read(
    server: EventStoreDB, reads: list[int]
) -> None:
    store = await open_store(server)
    made = await a_long_account(store)
    revisions = {one: written.resource.revision for one, written in made.items()}
    ours, theirs = [await open_store(server, revisions) for _ in range(2)]
    bank = WriteSide(ours, lambda: NOON, kept_max=1)

    async def dropped_and_back(their_deposits: int) -> Written[Account]:
        """Another account, then this one again; meanwhile another instance writes."""
        await bank.accounts.load("a-2")
        other = WriteSide(theirs, lambda: NOON, kept_max=1)
        for _ in range(their_deposits):
            await deposit(other, os.urandom(16))
        reads.clear()
        return await deposit(bank, os.urandom(16))

    await deposit(bank, os.urandom(16))
    deposits = EVENTS
    for theirs_meanwhile, expected in ((0, []), (0, []), (3, [1, 3]), (20, [1, 20]), (ONWARD + SNAPSHOT_EVENTS, None)):
        written = await dropped_and_back(theirs_meanwhile)
        deposits += theirs_meanwhile + 1
        assert (written.resource.revision, written.resource.state.balance) == (deposits + 1, usd(deposits))
        # Where much was written meanwhile, from a snapshot.
        assert sum(reads) <= ONWARD + 4 * NEAR if expected is None else reads == expected
    for one in (store, ours, theirs):
        await one.close()


async def test_an_account_that_is_often_dropped_keeps_its_snapshots(server: EventStoreDB) -> None:
    store = await open_store(server)
    await a_long_account(store)
    bank = WriteSide(store, lambda: NOON, kept_max=1)
    for _ in range(SNAPSHOT_EVENTS):
        await deposit(bank, os.urandom(16))
        await bank.accounts.load("a-2")
    snapshot = await store.snapshot(STREAM)
    assert snapshot
    assert snapshot.revision == EVENTS + SNAPSHOT_EVENTS
    await store.close()


async def test_followers_check_the_first_deposit_on_an_account_without_a_read(
    server: EventStoreDB, reads: list[int]
) -> None:
    store = await open_store(server)
    await a_long_account(store)
    other = await open_store(server)
    head = await other.head()
    quarantine = Quarantine(other, lambda: NOON)
    quarantine.checked = head.position
    await deposit(WriteSide(other, lambda: NOON, kept_max=10), os.urandom(16))
    page = await other.read_log(head)
    reads.clear()
    checked = await Checker(other, quarantine).check(page.events)
    assert [type(one.happened) for one in checked] == [MoneyDeposited]
    assert reads == []
    await other.close()
    await store.close()


async def test_instances_that_write_the_same_snapshots_leave_them_in_order(server: EventStoreDB) -> None:
    one, other = await open_store(server), await open_store(server)
    kept = [Snapshot(revision, os.urandom(16), b"s") for revision in range(SNAPSHOT_EVENTS, 20 * SNAPSHOT_EVENTS, 17)]
    for snapshot in kept:
        for store in (one, other):
            store.keep_snapshot(STREAM, snapshot)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while one._snapshots._writing or other._snapshots._writing:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    third = await open_store(server)
    for snapshot in kept:
        assert await third.snapshot(STREAM, snapshot.revision) == snapshot
        assert (await third.snapshot(STREAM, snapshot.revision - 1) or kept[0]).revision <= snapshot.revision
    for store in (one, other, third):
        await store.close()


async def test_an_earlier_snapshot_is_found_when_later_ones_are_lost(server: EventStoreDB) -> None:
    store = await open_store(server)
    kept = [Snapshot(revision, os.urandom(16), b"s") for revision in (16, 32, 4_000, 4_016, 4_032, 9_000)]
    for snapshot in kept:
        store.keep_snapshot(STREAM, snapshot)
    async with asyncio.timeout(5):
        while store._snapshots._writing:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    for number, snapshot in enumerate(kept):
        assert await store.snapshot(STREAM, snapshot.revision) == snapshot
        assert await store.snapshot(STREAM, snapshot.revision - 1) == (kept[number - 1] if number else None)
    await store.close()


# Round trips of the commands across streams


async def test_a_person_is_registered_in_four_round_trips_and_an_account_opened_in_five(
    server: EventStoreDB, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that read are under way at once, so it takes no longer than three and four."""
    store = await open_store(server)
    bank = WriteSide(store, lambda: NOON, kept_max=10)
    appends: list[str] = []
    append = EventStoreDBEventStore.append

    async def counting(self: EventStoreDBEventStore, stream: str, *more: Any) -> int:
        appends.append(stream)
        return await append(self, stream, *more)

    monkeypatch.setattr(EventStoreDBEventStore, "append", counting)
    reads.clear()
    await persons.register_person(bank, RegisterPerson(JOHN), Request(uuid4().bytes, hash=b"h"))
    assert (len(reads), len(appends)) == (2, 2)
    reads.clear()
    opening = Request(uuid4().bytes)
    opened = await accounts.open_account(bank, OpenAccount("", "john", "1", usd(0)), opening)
    # The owner and the number; then the claim, the number and the account.
    assert (len(reads), len(appends)) == (2, 5)
    reads.clear()
    again = await accounts.open_account(bank, OpenAccount("", "john", "1", usd(0)), opening)
    assert again == opened._replace(replayed=True)
    assert (len(reads), len(appends)) == (2, 5)
    await store.close()


async def test_a_stream_without_snapshots_is_replayed_at_any_revision(server: EventStoreDB) -> None:
    """As one that was written by an earlier version, or copied."""
    store = await open_store(server)
    assert await store.snapshot(STREAM, 2 * SNAPSHOT_EVENTS) is None
    await store.close()

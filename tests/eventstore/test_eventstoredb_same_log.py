"""A server that comes back with another log than before: on the stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from esdbclient import AsyncEventStoreDBClient, StreamState

from openbank.eventstore.errors import LogReplaced, OutcomeUnknown, StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb import EventStoreDBEventStore, same_log
from openbank.eventstore.port import BEGINNING, NO_STREAM
from openbank.following.tail import LogTail
from tests.eventstore.conformance import some_events, whole_log
from tests.stand_ins.eventstoredb.log import Copy, Log, Proposed, Record
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_log, "LOOK_PAUSE_SECONDS", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@pytest.fixture
async def store(server: EventStoreDB) -> AsyncIterator[EventStoreDBEventStore]:
    store = await EventStoreDBEventStore.open(server.uri, settle_seconds=1)
    yield store
    await store.close()


def emptied(_: Log, __: Copy) -> Log:
    return Log()


def shortened(_: Log, backup: Copy) -> Log:
    return Log(backup)


def grown_again(_: Log, backup: Copy) -> Log:
    """Longer than it was, with other events at the same revisions."""
    log = Log(backup)
    theirs = [record for record in log.records if record.stream == "account-1"][-1]
    for number in range(theirs.number, theirs.number + 5):
        log.append("account-1", number, [proposed_as(theirs, number)])
    return log


def proposed_as(record: Record, number: int) -> Proposed:
    event_id = f"00000000-0000-4000-8000-{number:012}"
    return Proposed(event_id, record.type, record.is_json, record.data, record.metadata)


OTHER_LOGS = pytest.mark.parametrize("other_log", [emptied, shortened, grown_again])
OtherLog = Callable[[Log, Copy], Log]


async def exchange(server: EventStoreDB, store: EventStoreDBEventStore, other_log: OtherLog) -> None:
    """After three events the server loses two of them."""
    await store.append("account-1", NO_STREAM, some_events())
    backup = Copy(server.log)
    await store.append("account-1", 1, some_events())
    await store.append("account-1", 2, some_events())
    await server.restart(other_log(server.log, backup))


async def refusal_of(call: Callable[[], Awaitable[object]]) -> str:
    """What a call is refused with for good: until the connection is back, the store may be away."""
    async with asyncio.timeout(5):
        while True:
            try:
                await call()
            except LogReplaced as error:
                return str(error)
            except (StoreUnavailable, OutcomeUnknown):
                await asyncio.sleep(0.02)
            else:
                raise AssertionError("it was answered")


@OTHER_LOGS
async def test_nothing_is_written_to_another_log(
    server: EventStoreDB, store: EventStoreDBEventStore, other_log: OtherLog
) -> None:
    await exchange(server, store, other_log)
    before = len(server.log.records)
    for stream, expected in (("account-1", 3), ("account-2", NO_STREAM), ("account-1", 1)):
        refusal = await refusal_of(lambda: store.append(stream, expected, some_events()))  # noqa: B023
        assert "does not hold the log" in refusal
        assert "accept-loss" in refusal
    assert len(server.log.records) == before


@OTHER_LOGS
async def test_nothing_is_read_of_another_log(
    server: EventStoreDB, store: EventStoreDBEventStore, other_log: OtherLog
) -> None:
    await exchange(server, store, other_log)
    for read in (store.head, lambda: store.read_stream("account-1"), lambda: store.read_log(BEGINNING)):
        await refusal_of(read)


@OTHER_LOGS
async def test_the_tail_follows_no_other_log(
    server: EventStoreDB, store: EventStoreDBEventStore, other_log: OtherLog
) -> None:
    tail = LogTail(store)
    following = asyncio.create_task(tail.run())
    await exchange(server, store, other_log)
    async with asyncio.timeout(5):
        await following
    assert tail.replaced is not None
    assert not tail.available


async def test_the_same_log_is_followed_after_a_restart(server: EventStoreDB, store: EventStoreDBEventStore) -> None:
    tail = LogTail(store)
    following = asyncio.create_task(tail.run())
    while not tail.available:
        await tail.changed()
    for revision in range(4):
        async with asyncio.timeout(5):
            while True:
                with suppress(StoreUnavailable):
                    await store.append("account-1", revision, some_events())
                    break
                await asyncio.sleep(0.02)
        if revision < 3:
            await server.restart()
    async with asyncio.timeout(10):
        await tail.wait((await store.head()).position - 1)
    recent = tail.recent(BEGINNING, 100)
    assert recent is not None
    assert [entry.event for entry in recent[0]] == await whole_log(store)
    following.cancel()


@pytest.mark.parametrize("hidden", ["truncated", "scavenged", "deleted", "tombstoned"])
async def test_a_stream_that_operators_hide_is_not_taken_for_another_log(
    server: EventStoreDB, store: EventStoreDBEventStore, hidden: str
) -> None:
    await store.append("account-2", NO_STREAM, some_events())
    await store.append("account-1", NO_STREAM, some_events(3))
    async with AsyncEventStoreDBClient(server.uri) as client:
        await client.connect()
        if hidden == "deleted":
            await client.delete_stream("account-1", current_version=StreamState.ANY)
        elif hidden == "tombstoned":
            await client.tombstone_stream("account-1", current_version=StreamState.ANY)
        else:
            await client.set_stream_metadata("account-1", metadata={"$tb": 3})
    if hidden == "scavenged":
        server.log.scavenge()
    await server.restart()
    async with asyncio.timeout(5):
        while True:
            with suppress(StoreUnavailable):
                await store.append("account-2", 1, some_events())
                break
            await asyncio.sleep(0.02)


async def test_a_known_bank_is_not_created_in_an_empty_store(
    server: EventStoreDB, store: EventStoreDBEventStore
) -> None:
    await server.restart(Log())
    records = len(server.log.records)
    with pytest.raises(StoreRefused, match="holds no bank"):
        await EventStoreDBEventStore.open(server.uri, known_bank_id=store.bank_id)
    assert len(server.log.records) == records


async def test_a_loss_can_be_accepted(server: EventStoreDB, store: EventStoreDBEventStore) -> None:
    position = await store.append("account-1", NO_STREAM, some_events())
    again = await EventStoreDBEventStore.open(server.uri)
    assert await again.accept_loss() == position
    await again.close()
    after = await EventStoreDBEventStore.open(server.uri)
    assert after.bank_id == store.bank_id
    assert after.store_id != store.store_id
    await after.close()
    # An instance that still serves the former log finds out at the next connection.
    await server.restart()
    await refusal_of(lambda: store.append("account-1", 1, some_events()))


async def test_a_connection_that_is_lost_as_its_check_ends_is_checked_once_more() -> None:
    guard = same_log.SameLogGuard("127.0.0.1:2113")
    checks = 0
    late: list[asyncio.Task[None]] = []

    async def after_a_loss() -> None:
        guard.lost()
        await guard.passed()

    async def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 1:
            # It runs when this check has ended, and before any caller gets the result.
            late.append(asyncio.create_task(after_a_loss()))

    guard.check = check
    guard.lost()
    await guard.passed()
    await late[0]
    assert checks == 2
    assert guard.is_open

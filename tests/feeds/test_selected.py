"""The history of some accounts or persons: the same events, places and order as in the log, without reading that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from openbank.eventstore.errors import StreamDamaged
from openbank.eventstore.port import BEGINNING, EventStore, LogPosition, LogSlice, RecordedEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.feeds import selected
from openbank.feeds.filter import Filter
from openbank.feeds.message import Signal
from openbank.feeds.watch import After
from openbank.following.entry import Entry
from tests.eventstore.memory import MemoryStore, new_events
from tests.feeds.bench import ACCOUNT, BOTH, FROM_THE_BEGINNING, Bench, bench

ONE = Filter(ACCOUNT, accounts=frozenset({"3"}))


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventStore]:
    made = MemoryStore() if request.param == "memory" else SqliteEventStore(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def log_reads(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> list[LogPosition]:
    """From where the log was read."""
    reads: list[LogPosition] = []
    read_log = store.read_log

    async def noted(after: LogPosition, limit: int = 1000) -> LogSlice:
        reads.append(after)
        return await read_log(after, limit)

    monkeypatch.setattr(store, "read_log", noted)
    return reads


async def fill(bench: Bench, appends: int, accounts: int = 40) -> None:
    dice = random.Random(appends)
    for _ in range(appends):
        number = dice.randrange(accounts)
        await bench.append(f"account-{number}", new_events(dice.choice((1, 1, 3)), owner=f"owner-{number % 7}"))


def passing(log: Sequence[RecordedEvent], filter: Filter) -> list[RecordedEvent]:
    return [event for event in log if filter.passes(Entry(event))]


@pytest.mark.parametrize(("known", "through"), [(5, 5), (12, 9)])
async def test_accounts_of_an_owner_are_complete_up_to_the_views_and_the_end_of_the_log(
    known: int, through: int
) -> None:
    class OwnersAt:
        place = LogPosition(known)

        async def accounts_of(self, owner_id: str, limit: int) -> Sequence[str]:
            return ["3"]

    streams = await selected.streams_of(Filter(ACCOUNT, persons=frozenset({"john"})), LogPosition(9), OwnersAt())
    assert streams == (["account-3"], LogPosition(through))


async def test_one_account_is_read_without_the_rest_of_the_log(store: EventStore, log_reads: list[LogPosition]) -> None:
    async with bench(store, ring_events=10, message_events_max=20) as made:
        await fill(made, 400)
        await made.tail.wait((await store.head()).position - 1)
        # A subscription may have begun with one.
        log_reads.clear()
        client = made.watch(filter=ONE)
        await client.until_caught_up()
        assert log_reads == []
        assert client.events == passing(await made.log(), ONE)
        position = await made.deposit("3")
        await client.until_passed(position)
        assert client.events == passing(await made.log(), ONE)


@pytest.mark.parametrize("each", [2, 500])
async def test_a_watch_continues_from_every_message_of_a_merged_history(
    store: EventStore, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selected, "EVENTS", each)
    monkeypatch.setattr(selected, "EVENTS_EACH_MIN", each)
    filters = (
        ONE,
        Filter(ACCOUNT, accounts=frozenset(str(number) for number in range(25))),
        Filter(BOTH, persons=frozenset({"owner-2", "owner-5", "nobody"})),
        Filter(ACCOUNT, persons=frozenset({"owner-3"}), accounts=frozenset({"3", "4"})),
    )
    async with bench(store, ring_events=10, message_events_max=15) as made:
        await fill(made, 200)
        await made.tail.wait((await store.head()).position - 1)
        await made.owners.accounts_of("", 1)
        log = await made.log()
        for filter in filters:
            whole = made.watch(filter=filter)
            await whole.until_caught_up()
            assert whole.events == passing(log, filter)
            for message in whole.messages[1:6]:
                rest = made.watch(After(message.position), filter)
                await rest.until_caught_up()
                assert rest.events == [event for event in whole.events if event.position > message.position.position]


async def test_the_log_is_read_if_the_owners_accounts_are_unknown(
    store: EventStore, log_reads: list[LogPosition]
) -> None:
    mine = Filter(ACCOUNT, persons=frozenset({"owner-4"}))
    async with bench(store, ring_events=10, message_events_max=20) as made:
        await fill(made, 100)
        await made.tail.wait((await store.head()).position - 1)
        log_reads.clear()
        client = made.watch(filter=mine)
        await client.until_caught_up()
        assert log_reads
        assert client.events == passing(await made.log(), mine)


async def test_a_stream_that_has_lost_events_is_looked_for_in_the_log(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(store, ring_events=10, message_events_max=20) as made:
        await fill(made, 100)
        await made.tail.wait((await store.head()).position - 1)

        async def damaged(stream: str, *_: Any) -> Sequence[RecordedEvent]:
            raise StreamDamaged(stream)

        log = await made.log()
        monkeypatch.setattr(store, "read_stream", damaged)
        client = made.watch(filter=ONE)
        await client.until_caught_up()
        assert client.events == passing(log, ONE)


async def test_a_client_hears_of_a_watch_whose_streams_are_read_slowly(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(store, ring_events=10, message_events_max=20, heartbeat_seconds=0.05) as made:
        await fill(made, 100)
        await made.tail.wait((await store.head()).position - 1)
        read_stream, slowly = store.read_stream, asyncio.Event()

        async def slow(stream: str, *more: int) -> Sequence[RecordedEvent]:
            await slowly.wait()
            return await read_stream(stream, *more)

        monkeypatch.setattr(store, "read_stream", slow)
        client = made.watch(FROM_THE_BEGINNING, ONE)
        await client.until(lambda: client.signals[1:3] == [Signal.HEARTBEAT, Signal.HEARTBEAT])
        assert client.last.position == BEGINNING
        slowly.set()
        await client.until_caught_up()
        assert client.events == passing(await made.log(), ONE)

"""The tail: one subscription, a ring of what is recent, and the store for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from openbank.eventstore.port import BEGINNING, LogPosition, LogSlice, NewEvent, RecordedEvent
from openbank.following import tail as tail_module
from openbank.following.entry import ENTRY_BYTES, Entry
from openbank.following.tail import LogTail
from openbank.integrity import quarantine as quarantine_module
from openbank.integrity.quarantine import Quarantine
from tests.eventstore.memory import MemoryStore, new_events


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "BACKOFF_SECONDS_MIN", 0.001)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(step=10)


async def test_it_follows_the_log_with_one_subscription(store: MemoryStore) -> None:
    async with running(store) as tail:
        position = await deposit(store, 3)
        await tail.wait(position - 1)
        assert tail.head == await store.head()
        assert tail.available
        assert store.subscriptions == 1
    assert store.subscriptions == 0


async def test_it_leaves_history_in_the_store(store: MemoryStore) -> None:
    await deposit(store, 5)
    async with running(store) as tail:
        assert tail.head == await store.head()
        assert tail.recent(BEGINNING, 10) is None
        assert await read_all(tail) == await read_all(store)


async def test_recent_events_are_read_from_memory(store: MemoryStore) -> None:
    async with running(store) as tail:
        await tail.wait(await deposit(store, 5) - 1)
        assert len((await tail.reader().read(BEGINNING)).events) == 5
        assert store.reads == 0


async def test_a_reader_that_fell_off_the_ring_gets_the_same_from_the_store(store: MemoryStore) -> None:
    async with running(store, ring_events=3) as tail:
        await tail.wait(await deposit(store, 10) - 1)
        assert await read_all(tail, limit=2) == await read_all(store)
        assert store.reads > 0


async def test_the_ring_is_bounded_in_bytes_too(store: MemoryStore) -> None:
    async with running(store, ring_bytes=4 * (ENTRY_BYTES + 500)) as tail:
        await tail.wait(await deposit(store, 10, size=500) - 1)
        assert tail.recent(LogPosition(50), 100) is None
        assert tail.recent(LogPosition(60), 100) is not None


async def test_an_event_larger_than_the_ring_is_read_from_the_store(store: MemoryStore) -> None:
    async with running(store, ring_bytes=2000) as tail:
        await tail.wait(await deposit(store, 1, size=5000) - 1)
        page = await tail.reader().read(BEGINNING)
        assert len(page.events) == 1
        assert page.caught_up


async def test_an_append_is_never_split_by_a_limit(store: MemoryStore) -> None:
    async with running(store) as tail:
        for _ in range(3):
            await append(store, new_events(4))
        await tail.wait((await store.head()).position - 1)
        page = await tail.reader().read(BEGINNING, limit=5)
        assert len(page.events) == 8
        assert not page.caught_up


async def test_a_reader_at_the_head_is_caught_up_and_learns_when_it_moves(store: MemoryStore) -> None:
    async with running(store) as tail:
        position = await deposit(store)
        await tail.wait(position - 1)
        page = await tail.reader().read(LogPosition(position))
        assert page == LogSlice([], LogPosition(position), caught_up=True)

        waiting = asyncio.create_task(tail.wait(position))
        await asyncio.sleep(0)
        assert not waiting.done()
        await deposit(store)
        await asyncio.wait_for(waiting, 5)


class InTwoSteps(MemoryStore):
    """Its subscriptions give one event, and the rest once the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        first = self._slice(after, 1)
        if not first.caught_up:
            yield first
            await self.go_on.wait()
        async for page in super().subscribe(first.through if not first.caught_up else after):
            yield page


async def test_while_it_catches_up_with_what_it_missed_it_is_not_current() -> None:
    store = InTwoSteps()
    async with running(store) as tail:
        await until(lambda: tail.current)
        store.go_away()
        await until(lambda: not tail.current)
        store.come_back()
        store.go_on.clear()
        for _ in range(3):
            await deposit(store)
        await until(lambda: tail.available)
        await asyncio.sleep(0.01)
        assert not tail.current
        store.go_on.set()
        await until(lambda: tail.current)
        assert tail.head == await store.head()


async def test_while_it_checks_what_has_arrived_it_has_nothing_later_to_confirm(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = asyncio.Event()

    async def slowly(events: Sequence[RecordedEvent], _: object) -> list[Entry]:
        await checked.wait()
        return [Entry(event) for event in events]

    async with running(store) as tail:
        await until(lambda: tail.current)
        assert tail.confirmed_seconds_ago == 0
        monkeypatch.setattr(tail_module, "_entries", slowly)
        position = await deposit(store)
        await asyncio.sleep(0.05)
        assert tail.head.position < position
        assert tail.confirmed_seconds_ago > 0.01
        checked.set()
        await tail.wait(position - 1)
        await asyncio.sleep(0)
        assert tail.confirmed_seconds_ago == 0


async def test_the_events_of_others_are_passed(store: MemoryStore) -> None:
    async with running(store) as tail:
        position = await deposit(store)
        store.pass_others()
        await tail.wait(position)
        page = await tail.reader().read(LogPosition(position))
        assert not page.events
        assert page.through == tail.head
        assert page.caught_up


async def test_a_history_of_other_programs_alone_is_passed_too(store: MemoryStore) -> None:
    store.pass_others()
    async with running(store) as tail:
        page = await tail.reader().read(BEGINNING)
        assert page.through == tail.head
        assert page.caught_up


async def test_a_read_passes_what_was_followed_before_it_and_nothing_that_came_meanwhile(store: MemoryStore) -> None:
    """In a store that reveals no more than the place of the last event it gives."""

    async def read_log(after: LogPosition, limit: int) -> LogSlice:
        await deposit(store)
        await tail.wait(tail.head.position)
        return LogSlice((), after, caught_up=True)

    store.pass_others()
    async with running(store) as tail:
        followed = tail.head
        store.read_log = read_log  # type: ignore[method-assign,assignment]
        assert (await tail.reader().read(BEGINNING)).through == followed


async def test_a_place_is_named_by_the_last_event_that_is_the_banks(store: MemoryStore) -> None:
    async with running(store) as tail:
        await append(store, new_events(), "account-1")
        await append(store, new_events(type="$metadata"), "$others-1")
        await append(store, new_events(), "account-2")
        await tail.wait((await store.head()).position - 1)
        assert (await tail.reader().read(BEGINNING, limit=2)).through == LogPosition(20, "account-1", 1)


async def test_before_it_runs_everything_is_read_from_the_store(store: MemoryStore) -> None:
    await deposit(store, 3)
    tail = LogTail(store)
    assert not tail.available
    assert await read_all(tail) == await read_all(store)


async def test_a_tail_continues_when_the_store_comes_back(store: MemoryStore) -> None:
    async with running(store) as tail:
        await tail.wait(await deposit(store, 2) - 1)
        store.go_away()
        await until(lambda: not tail.available)
        store.come_back()
        await tail.wait(await deposit(store, 2) - 1)
        assert tail.available
        assert await read_all(tail) == await read_all(store)
        assert store.subscriptions == 1


async def test_it_waits_for_a_store_that_is_not_there_yet(store: MemoryStore) -> None:
    store.go_away()
    tail = LogTail(store)
    task = asyncio.create_task(tail.run())
    await asyncio.sleep(0.01)
    assert not tail.available
    store.come_back()
    await until(lambda: tail.available)
    task.cancel()


async def test_a_log_with_too_much_that_is_not_believed_ends_it_with_a_line(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quarantine_module, "AGGREGATES_MAX", 1)
    store.sole_writer = False
    tail = LogTail(store, quarantine=Quarantine(store, lambda: 0))
    following = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    for number in range(2):
        await append(store, new_events(), f"account-{number}")
    await asyncio.wait_for(following, 5)
    assert not tail.available
    assert "too many aggregates are quarantined" in [record.message for record in caplog.records]
    assert caplog.records[-1].message == "log is not followed any more"
    assert "1 aggregates are quarantined" in (tail.replaced or "")


async def test_it_ends_with_the_store(store: MemoryStore) -> None:
    tail = LogTail(store)
    task = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    await store.close()
    await asyncio.wait_for(task, 5)
    assert not tail.available


@asynccontextmanager
async def running(store: MemoryStore, **ring: int) -> AsyncIterator[LogTail]:
    tail = LogTail(store, ring_events=ring.get("ring_events", 10_000), ring_bytes=ring.get("ring_bytes", 16 << 20))
    task = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    yield tail
    task.cancel()
    await asyncio.wait([task])


async def append(store: MemoryStore, events: Sequence[NewEvent], stream: str = "account-1") -> int:
    return await store.append(stream, len(await store.read_stream(stream)), events)


async def deposit(store: MemoryStore, how_many: int = 1, size: int = 16) -> int:
    position = 0
    for _ in range(how_many):
        position = await append(store, new_events(size=size))
    return position


async def read_all(log: LogTail | MemoryStore, limit: int = 1000) -> list[RecordedEvent]:
    read = log.read_log if isinstance(log, MemoryStore) else log.reader().read
    events: list[RecordedEvent] = []
    page = LogSlice((), BEGINNING)
    while not page.caught_up:
        page = await read(page.through, limit)
        events += page.events
    return events


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

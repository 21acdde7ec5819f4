"""What feeds and projections expect of `EventStore.subscribe`, checked for every adapter.

An adapter's test file subclasses `UpstreamConformance` and gives it a `store` fixture with an empty log; or
`RemoteUpstreamConformance`, and `break_upstream`, where there is a connection that can break.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import BEGINNING, NO_STREAM, EventStore, LogPosition, LogSlice, RecordedEvent
from tests.eventstore.memory import new_events

PATIENCE_SECONDS = 10.0


class UpstreamConformance:
    @pytest.fixture
    def store(self) -> EventStore:
        raise NotImplementedError("an adapter's test file gives its store, with an empty log")

    async def test_an_empty_log_is_caught_up_at_once(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            page = await upstream.page()
            assert page.caught_up
            assert not page.events

    async def test_history_comes_in_order_and_whole_and_then_it_is_caught_up(self, store: EventStore) -> None:
        await fill(store, appends=40)
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            assert upstream.events == await whole_log(store)
            assert upstream.through.position >= (await store.head()).position

    async def test_a_live_event_comes_at_once_and_alone(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            await store.append("account-1", NO_STREAM, new_events())
            page = await upstream.page()
            assert [(event.stream, event.revision) for event in page.events] == [("account-1", 1)]
            assert page.through.position >= page.events[-1].position

    async def test_it_is_caught_up_each_time_the_end_is_reached(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            for revision in range(5):
                await upstream.catch_up()
                await store.append("account-1", revision, new_events())
            await upstream.catch_up_to(await store.head())
            assert len(upstream.events) == 5

    async def test_the_head_is_caught_up_at_once_and_passes_what_came_before(self, store: EventStore) -> None:
        await fill(store, appends=3)
        head = await store.head()
        async with Subscription(store, head) as upstream:
            page = await upstream.page()
            assert page.caught_up
            assert not page.events
            assert page.through.position >= head.position

    async def test_an_event_keeps_all_it_was_stored_with(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            await store.append("account-1", NO_STREAM, new_events(2, owner="ann"))
            await upstream.catch_up_to(await store.head())
            assert upstream.events == list(await store.read_stream("account-1"))

    async def test_history_and_live_join_without_a_gap_or_a_duplicate(self, store: EventStore) -> None:
        await fill(store, appends=30)
        async with Subscription(store, BEGINNING) as upstream:
            await asyncio.gather(*(fill(store, appends=30, first=100 * n) for n in range(1, 6)))
            await upstream.catch_up_to(await store.head())
            assert upstream.events == await whole_log(store)

    async def test_an_append_is_never_split(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await asyncio.gather(*(fill(store, appends=10, first=100 * n, events=3) for n in range(5)))
            await upstream.catch_up_to(await store.head())
            for page in upstream.pages:
                assert [event.metadata.part for event in page.events] == [0, 1, 2] * (len(page.events) // 3)

    async def test_reading_can_continue_after_the_place_of_any_page(self, store: EventStore) -> None:
        await fill(store, appends=10)
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            for revision in range(5):
                await store.append("account-live", revision, new_events())
            await upstream.catch_up_to(await store.head())
        log = await whole_log(store)
        for page in upstream.pages:
            async with Subscription(store, page.through) as again:
                await again.catch_up_to(await store.head())
                assert again.events == [event for event in log if event.position > page.through.position]

    async def test_through_names_the_last_event_it_passed(self, store: EventStore) -> None:
        await fill(store, appends=5)
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            last = upstream.events[-1]
            assert upstream.through[1:] == (last.stream, last.revision)

    async def test_two_subscriptions_each_get_all(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as one, Subscription(store, BEGINNING) as other:
            await fill(store, appends=10)
            head = await store.head()
            await one.catch_up_to(head)
            await other.catch_up_to(head)
            assert one.events == other.events == await whole_log(store)

    async def test_a_subscription_left_alone_for_long_misses_nothing(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            await asyncio.gather(*(fill(store, appends=60, first=100 * n) for n in range(5)))
            await upstream.catch_up_to(await store.head())
            assert upstream.events == await whole_log(store)

    async def test_closing_the_store_ends_it(self, store: EventStore) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            waiting = asyncio.create_task(upstream.page())
            await asyncio.sleep(0.01)
            await store.close()
            with pytest.raises((StoreUnavailable, StopAsyncIteration)):
                await waiting


class RemoteUpstreamConformance(UpstreamConformance):
    @pytest.fixture
    def break_upstream(self) -> Callable[[], Awaitable[None]]:
        """Cuts the adapter's connection to its store."""
        raise NotImplementedError("an adapter's test file says how")

    async def test_a_broken_connection_is_reported(
        self, store: EventStore, break_upstream: Callable[[], Awaitable[None]]
    ) -> None:
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            await break_upstream()
            with pytest.raises(StoreUnavailable):
                await upstream.page()


class Subscription:
    """A subscription and what has come of it."""

    def __init__(self, store: EventStore, after: LogPosition) -> None:
        self.pages: list[LogSlice] = []
        self.through = after
        self._slices = store.subscribe(after)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        # An adapter may return a plain iterator.
        if isinstance(self._slices, AsyncGenerator):
            await self._slices.aclose()

    @property
    def events(self) -> list[RecordedEvent]:
        return [event for page in self.pages for event in page.events]

    async def page(self) -> LogSlice:
        async with asyncio.timeout(PATIENCE_SECONDS):
            page = await anext(self._slices)
        self.pages.append(page)
        self.through = page.through
        return page

    async def catch_up(self) -> None:
        while not (await self.page()).caught_up:
            pass

    async def catch_up_to(self, head: LogPosition) -> None:
        caught_up = False
        while not (caught_up and self.through.position >= head.position):
            caught_up = (await self.page()).caught_up


async def fill(store: EventStore, appends: int, first: int = 0, events: int = 1) -> None:
    """Appends to as many streams of accounts, their numbers from `first`."""
    for number in range(first, first + appends):
        await store.append(f"account-{number}", NO_STREAM, new_events(events))


async def whole_log(store: EventStore) -> Sequence[RecordedEvent]:
    log: list[RecordedEvent] = []
    page = LogSlice((), BEGINNING)
    while not page.caught_up:
        page = await store.read_log(page.through)
        log += page.events
    return log

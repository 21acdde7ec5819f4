"""What the bank counts on in an `EventStore`, for every adapter to be held to, unchanged.

An adapter's test file subclasses `EventStoreConformance` and gives it `open_store`, which opens the same log each time
it is called, and closes what was opened before. (`upstream_conformance` has what is to be said of `subscribe`.)
Revisions start at 1; of positions nothing is assumed but their order, and the log may hold other programs' events.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.codec import events as codec
from openbank.domain.account_events import MoneyDeposited
from openbank.eventstore.errors import AppendTooLarge, StoreUnavailable, WrongExpectedRevision
from openbank.eventstore.port import (
    APPEND_BYTES_MAX,
    BEGINNING,
    NO_STREAM,
    EventStore,
    KeptRecord,
    LogPosition,
    LogSlice,
    Metadata,
    NewEvent,
    RecordedEvent,
    Snapshot,
)
from tests.examples import usd

OpenStore = Callable[[], Awaitable[EventStore]]

TIME = 1_700_000_000_000_000


class EventStoreConformance:
    @pytest.fixture
    def open_store(self) -> OpenStore:
        raise NotImplementedError("an adapter's test file says how its store is opened, with an empty log at first")

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[EventStore]:
        store = await open_store()
        yield store
        await store.close()

    # Account numbers of earlier versions

    async def test_it_knows_the_streams_of_numbers_with_hyphens(self, open_store: OpenStore) -> None:
        store: Any = await open_store()
        for stream in ("number-1-2", "number-12", "account-a-b", "number-A-B-C", "request-1-2"):
            await store.append(stream, NO_STREAM, some_events(2))
        assert sorted(await store.hyphenated_number_streams()) == ["number-1-2", "number-A-B-C"]
        await store.close()

    async def test_a_new_store_has_no_numbers_to_adopt(self, open_store: OpenStore) -> None:
        for _ in range(2):
            store: Any = await open_store()
            assert store.numbers_adopted
            await store.note_numbers_adopted()
            await store.close()

    # The record of what is quarantined

    async def test_there_is_no_quarantine_record_at_first(self, store: EventStore) -> None:
        assert await store.quarantine() == KeptRecord(b"", 0)

    async def test_a_quarantine_record_is_replaced_only_at_its_version(self, store: EventStore) -> None:
        first = await store.save_quarantine(b"one", 0)
        assert first
        assert await store.save_quarantine(b"another", 0) is None
        assert await store.quarantine() == KeptRecord(b"one", first)
        second = await store.save_quarantine(b"two", first)
        assert second
        assert second > first
        assert await store.quarantine() == KeptRecord(b"two", second)

    async def test_one_of_many_changes_to_the_quarantine_record_at_once_succeeds(self, store: EventStore) -> None:
        saved = await asyncio.gather(*(store.save_quarantine(b"%d" % number, 0) for number in range(5)))
        assert sum(version is not None for version in saved) == 1

    async def test_a_quarantine_record_survives_a_restart_and_is_not_in_the_log(self, open_store: OpenStore) -> None:
        store = await open_store()
        version = await store.save_quarantine(b"kept", 0)
        await store.close()
        store = await open_store()
        assert await store.quarantine() == KeptRecord(b"kept", version or 0)
        assert not (await store.read_log(BEGINNING)).events
        await store.close()

    # Appending

    async def test_appended_events_are_in_the_log(self, store: EventStore) -> None:
        events = some_events(3)
        await store.append("account-1", NO_STREAM, events)
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, events)

    async def test_appends_follow_one_another_in_their_stream(self, store: EventStore) -> None:
        first, second, third = some_events(2), some_events(1), some_events(3)
        await store.append("account-1", NO_STREAM, first)
        await store.append("account-1", 2, second)
        await store.append("account-1", 3, third)
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, [*first, *second, *third])

    async def test_an_append_answers_the_position_of_its_last_event(self, store: EventStore) -> None:
        for stream in ("account-1", "account-2"):
            position = await store.append(stream, NO_STREAM, some_events(2))
            assert position == (await store.read_stream(stream))[-1].position

    async def test_positions_grow_with_the_log(self, store: EventStore) -> None:
        positions = [
            await store.append("account-1", NO_STREAM, some_events()),
            await store.append("account-2", NO_STREAM, some_events()),
            await store.append("account-1", 1, some_events()),
        ]
        assert 0 < positions[0] < positions[1] < positions[2]

    @pytest.mark.parametrize("expected", [0, 1, 3, 100])
    async def test_an_append_at_another_revision_is_refused_and_writes_nothing(
        self, store: EventStore, expected: int
    ) -> None:
        await store.append("account-1", NO_STREAM, some_events(2))
        before, head = await store.read_stream("account-1"), await store.head()
        with pytest.raises(WrongExpectedRevision):
            await store.append("account-1", expected, some_events())
        assert await store.read_stream("account-1") == before
        assert await store.head() == head

    @pytest.mark.parametrize("expected", [1, 2])
    async def test_an_append_to_a_stream_that_is_not_there_expects_none(self, store: EventStore, expected: int) -> None:
        with pytest.raises(WrongExpectedRevision):
            await store.append("account-1", expected, some_events())
        assert not await store.read_stream("account-1")

    async def test_exactly_one_of_many_at_once_is_made(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events())
        appends = [some_events(2) for _ in range(50)]
        outcomes = await asyncio.gather(
            *(store.append("account-1", 1, events) for events in appends), return_exceptions=True
        )
        made = [events for events, outcome in zip(appends, outcomes, strict=True) if isinstance(outcome, int)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, WrongExpectedRevision)]
        assert (len(made), len(refused)) == (1, 49)
        assert_recorded(await store.read_stream("account-1", after=1), "account-1", 2, made[0])

    async def test_many_streams_are_written_at_once(self, store: EventStore) -> None:
        appends = {f"account-{number}": some_events(2) for number in range(50)}
        await asyncio.gather(*(store.append(stream, NO_STREAM, events) for stream, events in appends.items()))
        for stream, events in appends.items():
            assert_recorded(await store.read_stream(stream), stream, 1, events)
        assert_in_one_piece(await whole_log(store))

    async def test_one_bad_append_harms_no_other_that_came_with_it(self, store: EventStore) -> None:
        await store.append("account-3", NO_STREAM, some_events())
        outcomes = await asyncio.gather(
            *(store.append(f"account-{number}", NO_STREAM, some_events()) for number in range(6)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [int, int, int, WrongExpectedRevision, int, int]
        assert len(await whole_log(store)) == 6

    async def test_an_append_of_as_much_as_is_allowed_is_made(self, store: EventStore) -> None:
        # A little is left for what a store keeps beside the payloads.
        half = payload("x" * (APPEND_BYTES_MAX // 2 - 4096))
        await store.append("account-1", NO_STREAM, [some_event(half), some_event(half)])
        assert [event.data for event in await store.read_stream("account-1")] == [half] * 2

    async def test_an_append_that_is_too_large_writes_nothing(self, store: EventStore) -> None:
        half = payload("x" * (APPEND_BYTES_MAX // 2))
        with pytest.raises(AppendTooLarge):
            await store.append("account-1", NO_STREAM, [some_event(half), some_event(half)])
        assert not await store.read_stream("account-1")
        await store.append("account-1", NO_STREAM, some_events())

    async def test_an_append_may_have_thousands_of_small_events(self, store: EventStore) -> None:
        events = [some_event() for _ in range(1_500)]
        await store.append("account-1", NO_STREAM, events)
        stored = await store.read_stream("account-1", limit=2_000)
        assert [event.id for event in stored] == [event.id for event in events]

    async def test_an_append_whose_caller_gives_up_is_made_or_not_but_never_half(self, store: EventStore) -> None:
        for number in range(10):
            events = some_events(5)
            append = asyncio.ensure_future(store.append(f"account-{number}", NO_STREAM, events))
            for _ in range(number):
                await asyncio.sleep(0)
            append.cancel()
            await asyncio.gather(append, return_exceptions=True)
            await store.append(f"other-{number}", NO_STREAM, some_events())
            assert len(await store.read_stream(f"account-{number}")) in (0, 5)

    # The same append again

    async def test_the_same_append_again_succeeds_and_writes_nothing(self, store: EventStore) -> None:
        events = some_events(2)
        position = await store.append("account-1", NO_STREAM, events)
        await store.append("account-1", 2, some_events())
        before, head = await store.read_stream("account-1"), await store.head()
        assert await store.append("account-1", NO_STREAM, events) == position
        assert await store.read_stream("account-1") == before
        assert await store.head() == head

    async def test_the_same_append_at_the_same_moment_is_made_once(self, store: EventStore) -> None:
        events = some_events(2)
        positions = await asyncio.gather(*(store.append("account-1", NO_STREAM, events) for _ in range(10)))
        assert len(set(positions)) == 1
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, events)
        assert len(await whole_log(store)) == 2

    async def test_the_same_append_is_known_after_others_at_the_same_moment(self, store: EventStore) -> None:
        first, second = some_events(2), some_events(1)
        await store.append("account-1", NO_STREAM, first)
        await asyncio.gather(
            store.append("account-1", 2, second),
            store.append("account-1", NO_STREAM, first),
            store.append("account-1", 2, second),
        )
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, [*first, *second])

    async def test_an_append_with_the_same_ids_is_the_same(self, store: EventStore) -> None:
        event = some_event(payload("as it was first"))
        position = await store.append("account-1", NO_STREAM, [event])
        later = event._replace(data=payload("as it is now"), metadata=event.metadata._replace(record_time=TIME + 1))
        assert await store.append("account-1", NO_STREAM, [later]) == position
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, [event])

    async def test_a_part_of_an_append_again_at_its_own_place_is_known(self, store: EventStore) -> None:
        events = some_events(5)
        await store.append("account-1", NO_STREAM, events)
        stored = await store.read_stream("account-1")
        assert await store.append("account-1", NO_STREAM, events[:2]) == stored[1].position
        assert await store.append("account-1", 1, events[1:3]) == stored[2].position
        assert await store.append("account-1", 3, events[3:]) == stored[4].position
        assert await store.read_stream("account-1") == stored

    async def test_other_ids_at_the_same_place_are_another_writers(self, store: EventStore) -> None:
        events = some_events(3)
        await store.append("account-1", NO_STREAM, events)
        for others, expected in (
            (some_events(3), NO_STREAM),
            ([*events[:2], some_event()], NO_STREAM),
            ([some_event(), *events[1:]], NO_STREAM),
            (events[::-1], NO_STREAM),
            ([*events, some_event()], NO_STREAM),
            (events, 1),
            (events[1:], NO_STREAM),
            ([*events[2:], some_event()], 2),
        ):
            with pytest.raises(WrongExpectedRevision):
                await store.append("account-1", expected, others)
        assert_recorded(await store.read_stream("account-1"), "account-1", 1, events)

    async def test_an_append_is_known_again_only_in_its_own_stream(self, store: EventStore) -> None:
        events = some_events(2)
        await store.append("account-1", NO_STREAM, events)
        await store.append("account-2", NO_STREAM, some_events(2))
        with pytest.raises(WrongExpectedRevision):
            await store.append("account-2", NO_STREAM, events)

    # Streams

    async def test_a_stream_that_is_not_there_is_empty(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events())
        for stream in ("account-2", "account-", "account", "account-11", "Account-1"):
            assert not await store.read_stream(stream)

    async def test_a_stream_is_read_in_pages(self, store: EventStore) -> None:
        events = some_events(10)
        await store.append("account-1", NO_STREAM, events)
        await store.append("account-2", NO_STREAM, some_events())
        for after in range(12):
            for limit in (1, 3, 10, 100):
                page = await store.read_stream("account-1", after, limit)
                assert_recorded(page, "account-1", after + 1, events[after : after + limit])

    async def test_every_page_but_the_last_is_full(self, store: EventStore) -> None:
        for revision in range(0, 1_250, 250):
            await store.append("account-1", revision, some_events(250))
        pages = [len(await store.read_stream("account-1", after)) for after in (0, 1_000, 1_250)]
        assert pages == [1_000, 250, 0]

    async def test_streams_whose_names_differ_by_one_letter_are_different(self, store: EventStore) -> None:
        names = ["account-a", "account-A", "account-a-", "account--a", "number-A B", "person-a", "account-ä"]
        for name in names:
            await store.append(name, NO_STREAM, some_events())
        for name in names:
            assert [event.stream for event in await store.read_stream(name)] == [name]

    async def test_the_end_of_a_stream_is_read(self, store: EventStore) -> None:
        assert list(await store.read_end("account-1", 3)) == []
        await store.append("account-1", NO_STREAM, some_events(5))
        assert [event.revision for event in await store.read_end("account-1", 3)] == [3, 4, 5]
        assert await store.read_end("account-1", 10) == await store.read_stream("account-1")

    async def test_the_events_to_fold_are_read_at_any_revision(self, store: EventStore) -> None:
        assert list((await store.read_newest("account-1", 17)).events) == []
        assert list((await store.read_newest("account-1", 17, 5)).events) == []
        await store.append("account-1", NO_STREAM, some_events(100))
        stored = list(await store.read_stream("account-1"))
        kept = [Snapshot(event.revision, event.id, b"s") for event in stored[15::16]]
        for snapshot in kept:
            store.keep_snapshot("account-1", snapshot)
        for through in (None, *range(1, 101), 40, 100):
            end = through or 100
            events, newest = await store.read_newest("account-1", 17, through)
            assert list(events) == stored[end - len(events) : end]
            assert 1 <= len(events) <= 17
            if events[0].revision > 1:
                assert newest == kept[end // 16 - 1]

    # Snapshots

    async def test_the_newest_snapshot_up_to_a_revision_is_found(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events(100))
        kept = [Snapshot(revision, os.urandom(16), b"%d" % revision) for revision in (16, 32, 50, 66, 99)]
        assert await store.snapshot("account-1") is None
        for snapshot in kept:
            store.keep_snapshot("account-1", snapshot)
        for through, wanted in ((15, None), (16, 0), (49, 1), (50, 2), (65, 2), (66, 3), (98, 3), (99, 4), (100, 4)):
            found = await store.snapshot("account-1", through)
            assert found == (None if wanted is None else kept[wanted])
        assert await store.snapshot("account-1") == kept[-1]
        assert await store.snapshot("account-2") is None

    # Requests

    async def test_the_events_of_requests_are_found(self, store: EventStore) -> None:
        requests = [os.urandom(16) for _ in range(4)]
        for revision, request in enumerate(requests):
            await store.append("account-1", revision, some_events(request_id=request))
        await store.append("account-1", 4, some_events())

        async def found(*ids: bytes) -> list[int]:
            return [event.revision for event in await store.find_requests("account-1", ids)]

        assert await found(requests[0]) == [1]
        assert await found(requests[3], requests[1]) == [2, 4]
        assert await found(*requests, os.urandom(16)) == [1, 2, 3, 4]
        assert await found(os.urandom(16)) == []
        assert await found() == []

    async def test_a_request_is_found_with_all_its_events(self, store: EventStore) -> None:
        request = os.urandom(16)
        events = some_events(3, request_id=request, request_hash=b"h" * 16)
        await store.append("account-1", NO_STREAM, some_events())
        await store.append("account-1", 1, events)
        assert_recorded(await store.find_requests("account-1", [request]), "account-1", 2, events)

    async def test_a_request_of_the_banks_own_is_found_beside_a_callers_of_the_same_id(
        self, store: EventStore, open_store: OpenStore
    ) -> None:
        request = os.urandom(16)
        step, *_ = some_events(request_id=request)
        called, *_ = some_events(request_id=request, request_hash=b"h" * 16)
        await store.append("account-1", NO_STREAM, [step])
        await store.append("account-1", 1, [called])
        found = list(await store.find_requests("account-1", [request]))
        assert_recorded(found, "account-1", 1, [step, called])
        assert [event.metadata.request_key.internal for event in found] == [True, False]
        again = await open_store()
        assert await again.find_requests("account-1", [request]) == found
        await again.close()

    async def test_a_request_is_found_in_its_own_stream_only(self, store: EventStore) -> None:
        request = os.urandom(16)
        await store.append("account-1", NO_STREAM, some_events(request_id=request))
        await store.append("account-2", NO_STREAM, some_events())
        assert not await store.find_requests("account-2", [request])
        assert not await store.find_requests("account-3", [request])

    async def test_streams_with_a_request_are_found_together(self, store: EventStore) -> None:
        requests = [os.urandom(16) for _ in range(100)]
        for number in range(0, 100, 2):
            await store.append(f"account-{number}", NO_STREAM, some_events(request_id=requests[number]))
        await store.append("account-1", NO_STREAM, some_events())
        asked = [(f"account-{number}", request) for number, request in enumerate(requests)]
        # A store may name others too.
        assert {f"account-{number}" for number in range(0, 100, 2)} <= set(await store.streams_with(asked))
        assert not await store.streams_with([])

    async def test_a_request_is_found_however_long_ago(self, store: EventStore, open_store: OpenStore) -> None:
        request = os.urandom(16)
        await store.append("account-1", NO_STREAM, some_events(request_id=request))
        for revision in range(1, 1_501, 500):
            await store.append("account-1", revision, some_events(500, request_id=os.urandom(16)))
        assert [event.revision for event in await store.find_requests("account-1", [request])] == [1]
        again = await open_store()
        assert [event.revision for event in await again.find_requests("account-1", [request])] == [1]
        await again.close()

    # The log

    async def test_the_log_has_all_streams_in_the_order_of_their_appends(self, store: EventStore) -> None:
        appended = []
        for number in range(12):
            stream, events = f"account-{number % 3}", some_events(1 + number % 2)
            await store.append(stream, len(await store.read_stream(stream)), events)
            appended += [(stream, event.id) for event in events]
        log = await whole_log(store)
        assert [(event.stream, event.id) for event in log] == appended
        assert all(one.position < other.position for one, other in pairwise(log))

    async def test_an_event_is_the_same_in_the_log_as_in_its_stream(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events(3))
        assert await whole_log(store) == list(await store.read_stream("account-1"))

    async def test_an_empty_log_is_at_its_end(self, store: EventStore) -> None:
        page = await store.read_log(BEGINNING)
        assert list(page.events) == []
        assert page.caught_up

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    async def test_a_page_of_the_log_never_splits_the_events_of_a_command(self, store: EventStore, limit: int) -> None:
        for number in range(10):
            await store.append(f"account-{number}", NO_STREAM, some_events(1 + number % 4))
        pages = await pages_of_log(store, BEGINNING, limit)
        for page in pages:
            assert_in_one_piece(page.events)
        assert [event for page in pages for event in page.events] == await whole_log(store)

    async def test_an_append_of_many_commands_may_be_split_between_them(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, [event for _ in range(10) for event in some_events(2)])
        pages = await pages_of_log(store, BEGINNING, 3)
        for page in pages:
            assert_in_one_piece(page.events)
        assert sum(len(page.events) for page in pages) == 20

    async def test_reading_can_continue_after_any_event(self, store: EventStore) -> None:
        for number in range(6):
            await store.append(f"account-{number}", NO_STREAM, some_events())
        log = await whole_log(store)
        for index, event in enumerate(log):
            page = await store.read_log(event.place)
            assert list(page.events) == log[index + 1 :]

    async def test_a_slice_says_how_far_it_goes_and_whether_that_is_the_end(self, store: EventStore) -> None:
        for number in range(5):
            await store.append(f"account-{number}", NO_STREAM, some_events())
        first = await store.read_log(BEGINNING, 2)
        assert not first.caught_up
        assert first.through.position >= first.events[-1].position
        assert first.through[1:] == (first.events[-1].stream, 1)
        rest = await store.read_log(first.through)
        assert rest.caught_up
        assert rest.through.position >= (await store.head()).position
        end = await store.read_log(rest.through)
        assert end.caught_up
        assert list(end.events) == []
        assert end.through == rest.through

    # Places in the log

    async def test_the_head_of_an_empty_log_is_the_beginning(self, store: EventStore) -> None:
        assert await store.head() == BEGINNING

    async def test_the_head_is_the_last_event(self, store: EventStore) -> None:
        for stream, revision in (("account-1", 0), ("account-2", 0), ("account-1", 1)):
            position = await store.append(stream, revision, some_events())
            assert await store.head() == LogPosition(position, stream, revision + 1)

    async def test_nothing_follows_the_head(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events(3))
        page = await store.read_log(await store.head())
        assert list(page.events) == []
        assert page.caught_up

    async def test_a_time_is_found_as_the_place_before_what_happened_since(self, store: EventStore) -> None:
        for number in range(5):
            await store.append(f"account-{number}", NO_STREAM, some_events(time=TIME + 10 * number))
        log = await whole_log(store)

        async def since(time: int) -> list[RecordedEvent]:
            return list((await store.read_log(await store.position_at(time))).events)

        assert await store.position_at(TIME - 1) == await store.position_at(TIME) == BEGINNING
        assert await since(TIME + 1) == log[1:]
        assert await since(TIME + 10) == log[1:]
        assert await since(TIME + 15) == log[2:]
        assert await since(TIME + 40) == log[4:]
        assert await since(TIME + 41) == []
        assert await store.position_at(TIME + 41) == await store.head()
        assert await store.position_at(TIME + 15) == log[1].place

    async def test_no_event_is_left_out_after_the_clock_went_back(self, store: EventStore) -> None:
        for number, time in enumerate((20, 50, 30, 10, 40)):
            await store.append(f"account-{number}", NO_STREAM, some_events(time=TIME + time))
        log = await whole_log(store)
        for time, first in ((20, 0), (21, 1), (50, 1), (51, 5), (10, 0)):
            at = await store.position_at(TIME + time)
            assert list((await store.read_log(at)).events) == log[first:], time

    async def test_a_time_is_looked_for_after_a_place_that_is_known_not_to_be_past_it(self, store: EventStore) -> None:
        times = (20, 50, 30, 10, 40, 60)
        for number, time in enumerate(times):
            await store.append(f"account-{number}", NO_STREAM, some_events(time=TIME + time))
        log = await whole_log(store)
        for time in (20, 21, 50, 51, 60, 61):
            found = await store.position_at(TIME + time)
            before = [BEGINNING, *(event.place for event in log if event.position <= found.position)]
            assert [await store.position_at(TIME + time, after) for after in before] == [found] * len(before), time

    async def test_a_time_in_an_empty_log_is_its_beginning(self, store: EventStore) -> None:
        assert await store.position_at(TIME) == BEGINNING

    async def test_an_event_is_located_by_its_stream_and_revision(self, store: EventStore) -> None:
        for revision in range(3):
            await store.append("account-1", revision, some_events())
            await store.append("account-2", revision, some_events())
        for event in await whole_log(store):
            assert await store.locate(event.stream, event.revision) == event.place

    @pytest.mark.parametrize(
        ("stream", "revision"),
        [("account-1", 2), ("account-1", 0), ("account-1", -1), ("account-1", 2**62), ("account-2", 1), ("", 1)],
    )
    async def test_an_event_that_is_not_there_is_located_nowhere(
        self, store: EventStore, stream: str, revision: int
    ) -> None:
        await store.append("account-1", NO_STREAM, some_events())
        assert await store.locate(stream, revision) is None

    # What is kept with an event

    @pytest.mark.parametrize(
        "metadata",
        [
            Metadata(TIME),
            Metadata(0),
            Metadata(TIME, request_id=bytes(range(16)), request_hash=b"\x01" * 16),
            Metadata(TIME, request_id=b"\xff" * 16),
            Metadata(TIME, correlation_id="c" * 128),
            Metadata(TIME, correlation_id=" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
            Metadata(TIME, correlation_id="Zürich 漢字 🏦", causation_id="d6b0…", owner_id="jöhn"),
            Metadata(TIME, causation_id="0b6ed2a8-6c1b-8000-8000-0123456789ab"),
            Metadata(TIME, owner_id="x" * 64),
            Metadata(TIME, actor='jwt:https://id.example|"\\ü'),
            Metadata(TIME, bytes(16), bytes(16), "correlation", "causation", "owner"),
        ],
        ids=str,
    )
    async def test_metadata_comes_back_as_it_was(self, store: EventStore, metadata: Metadata) -> None:
        await store.append("account-1", NO_STREAM, [NewEvent(os.urandom(16), *STORED, metadata)])
        assert (await store.read_stream("account-1"))[0].metadata == metadata
        assert (await whole_log(store))[0].metadata == metadata

    async def test_parts_of_a_command_come_back_as_they_were(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events(40))
        parts = [(event.metadata.part, event.metadata.parts) for event in await store.read_stream("account-1")]
        assert parts == [(part, 40) for part in range(40)]

    @pytest.mark.parametrize("identifier", [bytes(range(16)), b"\0" * 15 + b"\1", b"\xff" * 16], ids=bytes.hex)
    async def test_an_id_is_any_16_bytes(self, store: EventStore, identifier: bytes) -> None:
        await store.append("account-1", NO_STREAM, [NewEvent(identifier, *STORED, Metadata(TIME))])
        assert [event.id for event in await store.read_stream("account-1")] == [identifier]

    # Over time

    async def test_acknowledged_events_are_there_when_the_store_is_opened_again(
        self, store: EventStore, open_store: OpenStore
    ) -> None:
        for number in range(20):
            await store.append(f"account-{number % 7}", number // 7, some_events())
        log, head = await whole_log(store), await store.head()
        again = await open_store()
        assert await whole_log(again) == log
        assert await again.head() == head
        assert await again.locate("account-3", 2) == log[10].place
        await again.append("account-0", 3, some_events())
        with pytest.raises(WrongExpectedRevision):
            await again.append("account-0", 3, some_events())
        assert [event.stream for event in (await again.read_log(head)).events] == ["account-0"]
        await again.close()

    async def test_the_same_append_is_known_when_the_store_is_opened_again(
        self, store: EventStore, open_store: OpenStore
    ) -> None:
        events = some_events(2)
        position = await store.append("account-1", NO_STREAM, events)
        again = await open_store()
        assert await again.append("account-1", NO_STREAM, events) == position
        assert len(await whole_log(again)) == 2
        await again.close()

    async def test_a_log_keeps_its_bank_and_its_store(self, store: EventStore, open_store: OpenStore) -> None:
        ids = (store.bank_id, store.store_id)
        for identifier in ids:
            assert len(bytes.fromhex(identifier)) == 16
        again = await open_store()
        assert (again.bank_id, again.store_id) == ids
        await again.close()

    async def test_a_closed_store_takes_nothing(self, store: EventStore) -> None:
        await store.append("account-1", NO_STREAM, some_events())
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.append("account-1", 1, some_events())
        with pytest.raises(StoreUnavailable):
            await store.read_stream("account-1")

    async def test_closing_waits_for_appends_under_way(self, store: EventStore, open_store: OpenStore) -> None:
        appends = [asyncio.ensure_future(store.append(f"account-{n}", NO_STREAM, some_events())) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        made = [n for n, append in enumerate(appends) if isinstance(await outcome_of(append), int)]
        again = await open_store()
        assert {f"account-{n}" for n in made} <= {event.stream for event in await whole_log(again)}
        await again.close()

    async def test_a_stores_ids_are_its_own(self, store: EventStore) -> None:
        assert store.bank_id != store.store_id

    # Whatever happens to it

    @settings(
        max_examples=25,
        deadline=None,
        # One log for all examples, whose streams have names of their own; and each adapter's class is an executor.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.data())
    async def test_a_store_behaves_like_a_model_made_of_lists(self, store: EventStore, data: st.DataObject) -> None:
        model = _Model(await whole_log(store), os.urandom(4).hex())
        for step in data.draw(st.lists(_steps(), min_size=1, max_size=12)):
            await asyncio.gather(*(model.append(store, *append) for append in step))
        await model.check(store)


def payload(description: str) -> bytes:
    """A real one: a store may keep it in another form, and give it back in binary."""
    return codec.encode(MoneyDeposited(usd(100), description, usd(150)))[1]


STORED = codec.encode(MoneyDeposited(usd(100), "Salary", usd(150)))


def some_event(data: bytes = STORED[1]) -> NewEvent:
    return NewEvent(os.urandom(16), STORED[0], data, Metadata(TIME))


def some_events(
    how_many: int = 1, time: int = TIME, request_id: bytes = b"", request_hash: bytes = b""
) -> list[NewEvent]:
    """The events of one command."""
    return [
        NewEvent(
            os.urandom(16),
            STORED[0],
            payload(os.urandom(8).hex()),
            Metadata(time, request_id, request_hash, "correlation", "", "john", part, how_many),
        )
        for part in range(how_many)
    ]


def assert_recorded(found: Sequence[RecordedEvent], stream: str, first: int, events: Sequence[NewEvent]) -> None:
    """That `found` is `events`, with revisions from `first` on."""
    assert [event.revision for event in found] == list(range(first, first + len(events)))
    assert [event.stream for event in found] == [stream] * len(events)
    assert [NewEvent(event.id, event.type, event.data, event.metadata) for event in found] == list(events)


def assert_in_one_piece(events: Sequence[RecordedEvent]) -> None:
    """That the events of each command stand together, in order and all of them."""
    expected = 0
    for event in events:
        assert event.metadata.part == expected
        expected = (expected + 1) % event.metadata.parts
    assert expected == 0


async def pages_of_log(store: EventStore, after: LogPosition, limit: int) -> list[LogSlice]:
    pages = [await store.read_log(after, limit)]
    while not pages[-1].caught_up:
        pages.append(await store.read_log(pages[-1].through, limit))
    return pages


async def whole_log(store: EventStore) -> list[RecordedEvent]:
    return [event for page in await pages_of_log(store, BEGINNING, 1_000) for event in page.events]


async def outcome_of(task: asyncio.Task[int]) -> int | BaseException:
    return (await asyncio.gather(task, return_exceptions=True))[0]


class _Model:
    """Streams as lists, and appends to them as the store is to make them."""

    def __init__(self, before: list[RecordedEvent], names: str) -> None:
        self._log = [(event.stream, event.id) for event in before]
        self._start = len(self._log)
        self._names = names
        self._streams: dict[str, list[NewEvent]] = {}
        self._appends: list[tuple[str, int, Sequence[NewEvent]]] = []

    async def append(self, store: EventStore, number: int, offset: int, count: int, again: int | None) -> None:
        """Appends of one step are of different streams: which of two comes first is the store's to say."""
        stream = f"account-{self._names}-{number}"
        history = self._streams.setdefault(stream, [])
        events: Sequence[NewEvent] = some_events(count, request_id=os.urandom(16))
        expected = max(0, len(history) + offset)
        earlier = [append for append in self._appends if append[0] == stream]
        if again is not None and earlier:
            stream, expected, events = earlier[again % len(earlier)]
        known = [event.id for event in history[expected : expected + len(events)]] == [event.id for event in events]
        try:
            await store.append(stream, expected, events)
        except WrongExpectedRevision:
            assert expected != len(history)
            assert not known
            return
        assert known or expected == len(history)
        if not known:
            history += events
            self._appends.append((stream, expected, events))
            self._log += [(stream, event.id) for event in events]

    async def check(self, store: EventStore) -> None:
        log = await whole_log(store)
        assert sorted((event.stream, event.id) for event in log) == sorted(self._log)
        assert_in_one_piece(log)
        assert await store.head() == (log[-1].place if log else BEGINNING)
        for stream, history in self._streams.items():
            assert_recorded(await store.read_stream(stream), stream, 1, history)
            ours = [event for event in log[self._start :] if event.stream == stream]
            assert ours == list(await store.read_stream(stream))
            for event in ours[-1:]:
                assert await store.locate(stream, event.revision) == event.place
                assert event in await store.find_requests(stream, [event.metadata.request_id])


def _steps() -> st.SearchStrategy[list[tuple[int, int, int, int | None]]]:
    """Appends at one moment: stream, how far beside its end, how many events, or which earlier append again."""
    append = st.tuples(
        st.integers(0, 3),
        st.sampled_from([0, 0, 0, 0, -1, -2, 1]),
        st.integers(1, 4),
        st.one_of(st.none(), st.none(), st.integers(0, 5)),
    )
    return st.lists(append, min_size=1, max_size=4, unique_by=lambda one: one[0])

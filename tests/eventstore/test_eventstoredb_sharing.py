"""What the adapter does once for many: questions that are asked at one time, and events that it knows already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openbank.codec import canonical_json
from openbank.eventstore.eventstoredb import EventStoreDBEventStore, append_call
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.shared import Shared
from openbank.eventstore.port import BEGINNING, RecordedEvent
from tests.eventstore.conformance import some_event
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb

ASKERS = 200


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


async def test_concurrent_reads_of_the_head_cause_at_most_one_more_call(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await EventStoreDBEventStore.open(server.uri)
    reads, read = [], Link.read

    async def counted(self: Link, **options: Any) -> Any:
        reads.append(options)
        return await read(self, **options)

    monkeypatch.setattr(Link, "read", counted)
    position = await store.append("account-1", 0, [some_event()])
    first = asyncio.create_task(store.head())
    while not reads:  # noqa: ASYNC110 - there is no event when it is sent
        await asyncio.sleep(0)
    # One question is on its way: it may be answered without what is appended from now on.
    later = await store.append("account-1", 1, [some_event()])
    heads = await asyncio.gather(*(store.head() for _ in range(ASKERS)))
    assert (await first).position in (position, later)
    assert {head.position for head in heads} == {later}
    assert len(reads) <= 2
    await store.close()


async def test_a_question_under_way_does_not_answer_a_caller_that_comes_later() -> None:
    sent: list[asyncio.Event] = []

    async def ask() -> int:
        number, may_end = len(sent), asyncio.Event()
        sent.append(may_end)
        await may_end.wait()
        return number

    async def sent_are(count: int) -> asyncio.Event:
        while len(sent) < count:  # noqa: ASYNC110 - there is no event when it is sent
            await asyncio.sleep(0)
        return sent[-1]

    async with asyncio.timeout(5):
        shared = Shared(ask)
        first = asyncio.create_task(shared.answer())
        may_end = await sent_are(1)
        later = asyncio.gather(*(shared.answer() for _ in range(3)))
        await asyncio.sleep(0)
        may_end.set()
        assert await first == 0
        (await sent_are(2)).set()
        assert await later == [1, 1, 1]


async def test_a_cancelled_caller_does_not_cancel_the_others(server: EventStoreDB) -> None:
    store = await EventStoreDBEventStore.open(server.uri)
    position = await store.append("account-1", 0, [some_event()])
    server.faults.add("slow", seconds=0.05, on=("read",))
    asking = [asyncio.create_task(store.head()) for _ in range(3)]
    await asyncio.sleep(0.01)
    asking[0].cancel()
    assert [(await one).position for one in asking[1:]] == [position, position]
    await store.close()


async def test_events_of_this_process_are_not_decoded_again(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = [await EventStoreDBEventStore.open(server.uri) for _ in range(2)]
    decoded, from_json = [], canonical_json.from_json

    def noted(text: bytes, kind: Any) -> Any:
        decoded.append(text)
        return from_json(text, kind)

    monkeypatch.setattr(canonical_json, "from_json", noted)
    own, others = [some_event() for _ in range(3)], [some_event() for _ in range(2)]
    await store.append("account-1", 0, own)
    await other.append("account-1", 3, others)
    seen: list[RecordedEvent] = []
    async for page in store.subscribe(BEGINNING):
        seen += page.events
        if len(seen) == 5:
            break
    assert len(decoded) == len(others)
    assert [(event.id, event.type, event.data, event.metadata) for event in seen] == [
        (event.id, event.type, event.data, event.metadata) for event in [*own, *others]
    ]
    # Its own are the objects that it appended, by which followers know that it has checked them already.
    assert all(event.data is appended.data for event, appended in zip(seen, own, strict=False))
    assert [event.revision for event in seen] == [1, 2, 3, 4, 5]
    for one in (store, other):
        await one.close()


async def test_appends_that_are_on_their_way_together_are_answered_together(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_call, "GATHER_SECONDS", 60)
    store = await EventStoreDBEventStore.open(server.uri)
    async with asyncio.timeout(5):
        await store.append("account-alone", 0, [some_event()])
        answered: list[int] = []
        turns = 0

        async def append(stream: str) -> None:
            await store.append(stream, 0, [some_event()])
            answered.append(turns)

        appending = asyncio.gather(*(append(f"account-{number}") for number in range(20)))
        while not appending.done():
            turns += 1
            await asyncio.sleep(0)
    assert len(set(answered)) == 1
    await store.close()


async def test_an_answer_that_waits_for_others_outlives_their_connection(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_call, "GATHER_SECONDS", 60)
    store = await EventStoreDBEventStore.open(server.uri)
    sent, append = [], server.log.append

    def counted(stream: str, *more: Any, **options: Any) -> Any:
        sent.append(stream)
        return append(stream, *more, **options)

    monkeypatch.setattr(server.log, "append", counted)
    server.faults.add("hang", prefix="account-unheard", times=1)
    unheard = asyncio.create_task(store.append("account-unheard", 0, [some_event()]))
    heard = asyncio.create_task(store.append("account-heard", 0, [some_event()]))
    async with asyncio.timeout(5):
        while not sent:  # noqa: ASYNC110 - there is no event when it is written
            await asyncio.sleep(0.01)
        server.faults.add("cut_before", prefix="account-cut", times=1)
        await store.append("account-cut", 0, [some_event()])
        await asyncio.gather(unheard, heard)
    assert sent.count("account-heard") == 1
    await store.close()

"""Whatever happens meanwhile, a watch's record is the log: its filter's part of it, in order, no gap, no duplicate."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.eventstore.port import BEGINNING, EventStore, LogPosition, RecordedEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.feeds.filter import Filter, Form
from openbank.feeds.watch import After, Live, Start
from openbank.following.entry import Entry
from tests.eventstore.memory import MemoryStore, new_events
from tests.feeds.bench import ACCOUNT, BOTH, DEPOSITED, PERSON, RESERVED, WITHDRAWN, Bench, Client, bench, in_form

FILTERS = (
    Filter(ACCOUNT),
    Filter(ACCOUNT, accounts=frozenset({"1"})),
    Filter(ACCOUNT, types=frozenset({WITHDRAWN})),
    Filter(ACCOUNT, persons=frozenset({"bob"}), types=frozenset({DEPOSITED})),
    Filter(PERSON),
    Filter(BOTH, form=Form.CLOUD_EVENT),
    Filter(BOTH, persons=frozenset({"1", "bob"}), form=Form.CLOUD_EVENT),
)


class Append(NamedTuple):
    stream: str
    types: Sequence[str]
    owner: str
    times: int


class Watch(NamedTuple):
    filter: Filter
    start: float | None
    """From live, or from an event so far along the log as it is then."""


class Resume(NamedTuple):
    """Some client leaves, and continues from one of its messages with another filter."""

    client: int
    message: float
    filter: Filter


class Stall(NamedTuple):
    client: int


class ReadOn(NamedTuple):
    client: int


class Turns(NamedTuple):
    """Turns of the loop, in which the watches get on."""

    turns: int


class PassOthers(NamedTuple):
    pass


class GoAway(NamedTuple):
    turns: int


Step = Append | Watch | Resume | Stall | ReadOn | Turns | PassOthers | GoAway

appends = st.builds(
    Append,
    st.sampled_from(["account-1", "account-2", "person-1", "number-1"]),
    st.lists(st.sampled_from([DEPOSITED, WITHDRAWN, RESERVED, "other.Type"]), min_size=1, max_size=5),
    st.sampled_from(["ann", "bob"]),
    st.integers(1, 4),
)
filters = st.sampled_from(FILTERS)
fractions = st.floats(0, 1)
some = st.integers(0, 9)
steps = st.one_of(
    appends,
    appends,
    appends,
    st.builds(Watch, filters, st.none() | fractions),
    st.builds(Resume, some, fractions, filters),
    st.builds(Stall, some),
    st.builds(ReadOn, some),
    st.builds(Turns, st.integers(1, 12)),
    st.builds(PassOthers),
    st.builds(GoAway, st.integers(1, 12)),
)


class Sizes(NamedTuple):
    """Small enough for watches to fall off the ring, and for pages to be more than a message."""

    ring_events: int
    message_events_max: int
    message_bytes_max: int


class Run(NamedTuple):
    """A client, and what it asked for."""

    client: Client
    start: Start
    filter: Filter


class Story:
    """Takes the steps, and remembers who asked for what."""

    def __init__(self, b: Bench) -> None:
        self._b = b
        self.runs: list[Run] = []

    async def take(self, step: Step) -> None:
        match step:
            case Append(stream, types, owner, times):
                for _ in range(times):
                    events = zip(new_events(len(types), owner=owner), types, strict=True)
                    await self._b.append(stream, [event._replace(type=type) for event, type in events])
            case Watch(filter, fraction):
                await self._watch(filter, await self._start(fraction))
            case Resume(client, fraction, filter):
                await self._resume(client, fraction, filter)
            case Stall(client):
                for run in self.runs[client : client + 1]:
                    run.client.stall()
            case ReadOn(client):
                for run in self.runs[client : client + 1]:
                    run.client.read_on()
            case Turns(count):
                await let_others(count)
            case PassOthers():
                if isinstance(self._b.store, MemoryStore):
                    self._b.store.pass_others()
            case GoAway(count):
                if isinstance(self._b.store, MemoryStore):
                    self._b.store.go_away()
                    await let_others(count)
                    self._b.store.come_back()

    async def end(self) -> None:
        """Every client reads on until it has passed what is the end now."""
        head = await self._b.store.head()
        for run in self.runs:
            run.client.read_on()
            if not run.client.task.done():
                await run.client.until_passed(head.position)

    async def _watch(self, filter: Filter, start: Start) -> None:
        client = self._b.watch(start, filter)
        self.runs.append(Run(client, start, filter))
        # Later steps may take the store away, and a watch does not start without one.
        await client.until_confirmed()

    async def _resume(self, client: int, fraction: float, filter: Filter) -> None:
        for run in self.runs[client : client + 1]:
            await run.client.leave()
            messages = run.client.messages
            place = messages[int(fraction * (len(messages) - 1))].position
            await self._watch(filter, After(place))

    async def _start(self, fraction: float | None) -> Start:
        if fraction is None:
            return Live()
        places = [BEGINNING, *(event.place for event in await self._b.log() if Entry(event).ends_append)]
        return After(places[int(fraction * (len(places) - 1))])


def check(log: Sequence[RecordedEvent], run: Run) -> None:
    messages = run.client.messages
    if isinstance(run.start, After):
        assert messages[0].position == run.start.position
    expected = passing(log, run.filter, messages[0].position, messages[-1].position)
    assert run.client.events == expected
    seen = 0
    for message in messages:
        seen += len(message.entries)
        # A token is all up to there, neither less nor more.
        assert run.client.events[:seen] == passing(log, run.filter, messages[0].position, message.position)
        assert message.position.position == 0 or ends_append(log, message.position)
        assert message.encoded == b"".join(in_form(event, run.filter.form) for event in message.events)
    for message in messages:
        for one, next in zip(message.events, message.events[1:], strict=False):
            assert next.position > one.position


def passing(log: Sequence[RecordedEvent], filter: Filter, after: LogPosition, to: LogPosition) -> list[RecordedEvent]:
    return [event for event in log if after.position < event.position <= to.position and filter.passes(Entry(event))]


def ends_append(log: Sequence[RecordedEvent], at: LogPosition) -> bool:
    passed = [event for event in log if event.position <= at.position]
    return not passed or Entry(passed[-1]).ends_append


async def let_others(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def tell(store: EventStore, story: Sequence[Step], sizes: Sizes) -> None:
    # The shortest silence, so that heartbeats report every place they could.
    async with bench(
        store,
        **sizes._asdict(),
        heartbeat_seconds=0.001,
    ) as b:
        teller = Story(b)
        for step in story:
            await teller.take(step)
        await teller.end()
        log = await b.log()
        for run in teller.runs:
            check(log, run)
    await store.close()


stories = st.lists(steps, min_size=10, max_size=60)
sizes = st.builds(
    Sizes,
    ring_events=st.sampled_from([1, 2, 5, 1000]),
    message_events_max=st.sampled_from([1, 3, 500]),
    message_bytes_max=st.sampled_from([40, 2 << 20]),
)


@pytest.mark.parametrize("step", [1, 10], ids=["dense", "sparse"])
@given(story=stories, sizes=sizes)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_watch_records_the_whole_log(step: int, story: Sequence[Step], sizes: Sizes) -> None:
    asyncio.run(tell(MemoryStore(step), story, sizes))


@given(story=stories, sizes=sizes)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_watch_records_the_whole_log_on_sqlite(story: Sequence[Step], sizes: Sizes) -> None:
    with tempfile.TemporaryDirectory() as directory:

        async def told() -> None:
            await tell(SqliteEventStore(Path(directory)), story, sizes)

        asyncio.run(told())


async def test_clients_that_come_and_go_among_writers_see_one_log(store: EventStore) -> None:
    """Every client starts amid the writes, some from the history of others, and all end with the same."""
    async with bench(store, ring_events=20, message_events_max=10) as b:

        async def write(account: int) -> None:
            for revision in range(100):
                await store.append(f"account-{account}", revision, new_events())
                await asyncio.sleep(0)

        async def come_and_go(first: Client) -> list[RecordedEvent]:
            record: list[RecordedEvent] = []
            client = first
            while len(record) < 500:
                await client.until_events(1)
                await client.leave()
                record += client.events
                client = b.watch(After(client.last.position))
            return record

        clients = [come_and_go(b.watch()) for _ in range(5)]
        writers = [write(account) for account in range(5)]
        async with asyncio.timeout(30):
            *records, _ = await asyncio.gather(*clients, asyncio.gather(*writers))
        log = await b.accounts()
        for record in records:
            assert record == log

"""What can go wrong between the bank and EventStoreDB, and what else lives in the same server: on the stand-in."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from esdbclient import AsyncEventStoreDBClient, StreamState
from esdbclient import NewEvent as Proposed
from esdbclient.events import ContentType

from openbank.aggregates.folding import Kind
from openbank.aggregates.repository import Repository
from openbank.codec import events as codec
from openbank.domain import account, movements
from openbank.domain.account import Account
from openbank.domain.account_events import AccountOpened, MoneyDeposited
from openbank.domain.clock import system_clock
from openbank.domain.movements import Deposit
from openbank.domain.request import Request
from openbank.eventstore.errors import (
    AppendTooLarge,
    OutcomeUnknown,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
    WrongExpectedRevision,
)
from openbank.eventstore.eventstoredb import EventStoreDBEventStore, append_call, appends, link, pulse
from openbank.eventstore.eventstoredb import upstream as upstream_of
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.stream_reads import NEAR
from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition, Metadata, NewEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.seal import KEY_BYTES, TokenKey
from openbank.eventstore.streams import account_stream
from openbank.following.tail import LogTail
from tests.client.proxy import proxy_of
from tests.eventstore.conformance import (
    STORED,
    TIME,
    assert_recorded,
    payload,
    some_event,
    some_events,
    whole_log,
)
from tests.eventstore.upstream_conformance import Subscription
from tests.examples import USD, usd
from tests.stand_ins.eventstoredb import filters
from tests.stand_ins.eventstoredb.faults import Kind as FaultKind
from tests.stand_ins.eventstoredb.log import Appended
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import EventStoreDBProcess, eventstoredb

AT_ONCE_SECONDS = 1.0
AWAY = "esdb://127.0.0.1:1?Tls=false"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (append_call, appends):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(appends, "PROBE_PAUSE_SECONDS", 0.0)


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@asynccontextmanager
async def opened(address: str, settle_seconds: float = 5.0, **options: object) -> AsyncIterator[EventStoreDBEventStore]:
    store = await EventStoreDBEventStore.open(address, settle_seconds=settle_seconds, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(server: EventStoreDB) -> AsyncIterator[EventStoreDBEventStore]:
    async with opened(server.uri) as store:
        yield store


@pytest.fixture
async def other(server: EventStoreDB) -> AsyncIterator[EventStoreDBEventStore]:
    """Another instance of the bank."""
    async with opened(server.uri) as store:
        yield store


@pytest.fixture
async def client(server: EventStoreDB) -> AsyncIterator[AsyncEventStoreDBClient]:
    """Another program."""
    async with AsyncEventStoreDBClient(server.uri) as client:
        await client.connect()
        yield client


async def until(said: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not said():  # noqa: ASYNC110 - the stand-in has no event for each fault
            await asyncio.sleep(0)


# An answer that is lost


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "hang", "hang_after", "refuse"])
async def test_a_request_whose_answer_is_lost_makes_one_event(
    server: EventStoreDB, store: EventStoreDBEventStore, fault: FaultKind, times: int
) -> None:
    server.forget()
    server.faults.add("forget")
    await store.append("account-1", NO_STREAM, some_events())
    server.faults.add(fault, times=times)
    events = some_events(3)
    position = await store.append("account-1", 1, events)
    stored = await store.read_stream("account-1", 1)
    assert_recorded(stored, "account-1", 2, events)
    assert position == stored[-1].position
    assert len(await whole_log(store)) == 4


async def test_a_lost_answer_is_found_by_reading_when_no_answer_ever_comes(server: EventStoreDB) -> None:
    async with opened(server.uri, settle_seconds=1) as store:
        server.faults.add("hang_after")
        events = some_events(2)
        position = await store.append("account-1", NO_STREAM, events)
        assert position == (await store.read_stream("account-1"))[-1].position
        assert len(await whole_log(store)) == 2


@pytest.mark.parametrize("fault", ["cut_before", "hang"])
async def test_an_outcome_that_stays_unknown_is_reported_in_bounded_time(
    server: EventStoreDB, fault: FaultKind
) -> None:
    async with opened(server.uri, settle_seconds=1) as store:
        server.faults.add(fault)
        events = some_events()
        async with asyncio.timeout(3):
            with pytest.raises(OutcomeUnknown):
                await store.append("account-1", NO_STREAM, events)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.append("account-2", NO_STREAM, some_events())
        assert not store.writable
        server.faults.clear()
        # Without an append that tries it.
        await until(lambda: store.writable)
        await store.append("account-1", NO_STREAM, events)
        assert len(await whole_log(store)) == 1


@pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
async def test_a_broken_call_fails_no_append_that_shares_it(
    server: EventStoreDB, store: EventStoreDBEventStore, fault: FaultKind
) -> None:
    written = {f"account-{number}": some_events(1 + number % 3) for number in range(100)}
    server.faults.add(fault, times=5, prefix="account-7")
    await asyncio.gather(*(store.append(stream, NO_STREAM, events) for stream, events in written.items()))
    for stream, events in written.items():
        assert_recorded(await store.read_stream(stream), stream, 1, events)
    assert len(await whole_log(store)) == sum(map(len, written.values()))


async def test_an_append_lost_before_it_was_written_may_lose_its_place(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    fault = server.faults.add("cut_before", times=1)
    lost = asyncio.create_task(store.append("account-1", NO_STREAM, some_events()))
    await until(lambda: fault.struck)
    theirs = some_events(2)
    await other.append("account-1", NO_STREAM, theirs)
    with pytest.raises(WrongExpectedRevision):
        await lost
    assert_recorded(await store.read_stream("account-1"), "account-1", 1, theirs)


async def test_an_append_written_and_lost_is_known_though_others_have_followed(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    fault = server.faults.add("cut_after", times=1)
    ours, theirs = some_events(2), some_events(3)
    lost = asyncio.create_task(store.append("account-1", NO_STREAM, ours))
    await until(lambda: fault.struck)
    await other.append("account-1", 2, theirs)
    position = await lost
    assert_recorded(await store.read_stream("account-1"), "account-1", 1, [*ours, *theirs])
    assert position == (await store.read_stream("account-1"))[1].position


@pytest.mark.parametrize("shown", [True, False])
async def test_an_append_that_is_known_and_cannot_be_read_yet_is_waited_for(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """A node that has just come to lead may have it, and not show it yet."""
    async with opened(server.uri, settle_seconds=1) as store:
        await store.append("account-1", NO_STREAM, some_events())
        fault = server.faults.add("cut_after", times=1)
        events = some_events()
        lost = asyncio.create_task(store.append("account-1", 1, events))
        await until(lambda: fault.struck)
        readable = server.log.committed
        server.log.committed = server.log.streams["account-1"].records[1].position
        monkeypatch.setattr(server.log, "_answer_of_old", lambda name, number: Appended(number, None))
        await asyncio.sleep(0.3)
        if shown:
            server.log.commit(readable)
            assert await lost == (await store.read_stream("account-1"))[-1].position
        else:
            with pytest.raises(OutcomeUnknown):
                await lost


async def test_a_slow_server_is_waited_for(server: EventStoreDB, store: EventStoreDBEventStore) -> None:
    server.faults.add("slow", seconds=0.1, times=10)
    await asyncio.gather(*(store.append(f"account-{number}", NO_STREAM, some_events()) for number in range(10)))
    assert len(await whole_log(store)) == 10


async def test_an_append_too_large_for_the_server_is_refused_and_breaks_nothing(store: EventStoreDBEventStore) -> None:
    with pytest.raises(AppendTooLarge):
        await store.append("account-1", NO_STREAM, [some_event() for _ in range(6_000)])
    await store.append("account-1", NO_STREAM, some_events())


# A refusal comes before its cause can be read


def commit_late(server: EventStoreDB, seconds: float) -> None:
    server.modes.late_seconds, server.modes.late_chance = seconds, 1.0


async def test_an_append_is_refused_when_its_cause_can_be_read(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    commit_late(server, 0.1)

    async def append(one: EventStoreDBEventStore, revision: int) -> Sequence[int]:
        """The revisions of what stands in its place, if it is refused."""
        try:
            await one.append("account-1", revision, some_events(2))
        except WrongExpectedRevision:
            return [event.revision for event in await one.read_stream("account-1", revision)]
        return ()

    for revision in range(0, 20, 2):
        outcomes = await asyncio.gather(append(store, revision), append(other, revision))
        assert [revision + 1, revision + 2] in outcomes


async def test_instances_that_write_to_one_account_are_never_in_each_others_way(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    opened_ = AccountOpened("1", "john", "123", usd(0))
    about = Metadata(TIME, owner_id="john")
    await store.append("account-1", NO_STREAM, [NewEvent(os.urandom(16), *codec.encode(opened_), about)])
    commit_late(server, 0.05)

    async def pay_in(instance: Repository[Account]) -> None:
        for _ in range(10):
            await deposit(instance, 5)

    await asyncio.gather(*(pay_in(accounts_of(one)) for one in (store, other)))
    assert len(await store.read_stream("account-1")) == 21


async def test_the_same_append_from_two_at_once_ends_at_one_position(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    """The server drops the one that comes before the other is committed."""
    commit_late(server, 0.5)
    for number in range(5):
        events = some_events(2)
        first, second = await asyncio.gather(*(one.append(f"account-{number}", 0, events) for one in (store, other)))
        assert first == second
    assert len(await whole_log(store)) == 10


async def test_instances_that_start_while_commits_are_late_agree_on_the_bank(server: EventStoreDB) -> None:
    commit_late(server, 0.3)
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(opened(server.uri)) for _ in range(8)))
        assert len({(store.bank_id, store.store_id) for store in stores}) == 1


# A server that is away


async def test_a_server_that_is_away_is_reported_at_once_and_found_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        process = stack.enter_context(EventStoreDBProcess(tmp_path / "log.db"))
        store = await stack.enter_async_context(opened(process.uri))
        position = await store.append("account-1", NO_STREAM, some_events())
        upstream = await stack.enter_async_context(Subscription(store, BEGINNING))
        await upstream.catch_up()

        process.kill()
        with pytest.raises(StoreUnavailable):
            await upstream.page()
        here = LogPosition(position, "account-1", 1)
        for _ in range(3):
            for call in (
                store.append("account-1", 1, some_events()),
                store.read_stream("account-1"),
                store.find_requests("account-1", [os.urandom(16)]),
                store.read_log(BEGINNING),
                store.head(),
                store.position_at(TIME),
                store.locate("account-1", 1),
                anext(store.subscribe(here)),
            ):
                async with asyncio.timeout(AT_ONCE_SECONDS):
                    with pytest.raises(StoreUnavailable):
                        await call
        await asyncio.to_thread(process.start)
        async with asyncio.timeout(5):
            while True:
                with suppress(StoreUnavailable):
                    await store.append("account-1", 1, some_events())
                    break
                await asyncio.sleep(0.05)
        assert len(await whole_log(store)) == 2
        async with Subscription(store, here) as again:
            await again.catch_up()
            assert [event.revision for event in again.events] == [2]


async def test_many_calls_at_once_wait_for_a_silent_server_no_longer_than_one(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "SILENT_SECONDS", 1.0)
    async with proxy_of(server.address) as proxy, opened(f"esdb://{proxy.address}?Tls=false", 1) as store:
        proxy.mute()
        async with asyncio.timeout(6):
            outcomes = await asyncio.gather(
                *(store.append(f"account-{number}", NO_STREAM, some_events()) for number in range(50)),
                *(store.read_stream(f"account-{number}") for number in range(50)),
                return_exceptions=True,
            )
        assert {type(outcome) for outcome in outcomes} <= {StoreUnavailable, OutcomeUnknown}
        proxy.unmute()
        async with asyncio.timeout(6):
            while True:
                with suppress(StoreUnavailable):
                    await store.append("account-x", NO_STREAM, some_events())
                    break
                await asyncio.sleep(0.05)


async def test_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    """Writers continue through five kill -9 of the server: acknowledged events are there, and none twice."""
    dice = random.Random(5)
    acknowledged: dict[str, list[bytes]] = {}
    unknown: dict[str, set[bytes]] = {}
    stopped = asyncio.Event()

    async def write(number: int) -> None:
        stream = f"account-{number}"
        ids, lost = acknowledged.setdefault(stream, []), unknown.setdefault(stream, set())
        revision = 0
        while not stopped.is_set():
            events = some_events(1 + revision % 3)
            try:
                await store.append(stream, revision, events)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                continue
            except OutcomeUnknown:
                lost |= {event.id for event in events}
                revision = await length_of(stream)
                continue
            ids += [event.id for event in events]
            revision += len(events)

    async def length_of(stream: str) -> int:
        while True:
            with suppress(StoreUnavailable):
                return len(await store.read_stream(stream, limit=100_000))
            await asyncio.sleep(0.02)

    async with AsyncExitStack() as stack:
        process = stack.enter_context(EventStoreDBProcess(tmp_path / "log.db"))
        store = await stack.enter_async_context(opened(process.uri))
        tail = LogTail(store, ring_events=1_000_000)
        following = asyncio.create_task(tail.run())
        async with asyncio.timeout(10):
            while not tail.available:  # noqa: ASYNC110 - it begins where the log ends, which is to be its beginning
                await asyncio.sleep(0.01)
        writers = [asyncio.create_task(write(number)) for number in range(16)]
        for _ in range(5):
            await asyncio.sleep(dice.uniform(0.1, 0.5))
            await asyncio.to_thread(process.kill)
            await asyncio.sleep(dice.uniform(0, 0.3))
            await asyncio.to_thread(process.start)
        await asyncio.sleep(0.5)
        stopped.set()
        await asyncio.gather(*writers)

        log = await whole_log(store)
        ids = [event.id for event in log]
        assert len(ids) == len(set(ids))
        for stream, written in acknowledged.items():
            stored = [event.id for event in log if event.stream == stream]
            assert [one for one in stored if one not in unknown[stream]] == [
                one for one in written if one not in unknown[stream]
            ]
        assert sum(map(len, acknowledged.values())) > 100

        async with asyncio.timeout(10):
            await tail.wait(log[-1].position - 1)
        recent = tail.recent(BEGINNING, 1_000_000)
        assert recent is not None
        assert [entry.event for entry in recent[0]] == log
        following.cancel()


# Reads that are cut short


async def test_a_read_that_is_cut_short_is_never_taken_for_the_whole(store: EventStoreDBEventStore) -> None:
    await store.append("account-1", NO_STREAM, [some_event() for _ in range(1_500)])
    for turns in range(0, 200, 10):
        reading = asyncio.create_task(store.read_stream("account-1", limit=2_000))
        for _ in range(turns):
            await asyncio.sleep(0)
        await store._link.leader.connection._grpc_streamers.close()
        with suppress(StoreUnavailable):
            assert len(await reading) == 1_500


async def test_a_caller_that_gives_up_a_read_gets_nothing_of_it(
    server: EventStoreDB, store: EventStoreDBEventStore
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    server.faults.add("hang", on=["read"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.read_stream("account-1")
    reading = asyncio.create_task(store.read_log(BEGINNING))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


# Subscriptions


async def test_a_subscription_given_up_before_it_is_confirmed_leaves_nothing(
    server: EventStoreDB, store: EventStoreDBEventStore, caplog: pytest.LogCaptureFixture
) -> None:
    fault = server.faults.add("hang", on=["subscribe"])
    subscribing = asyncio.ensure_future(anext(store.subscribe(BEGINNING)))
    await until(lambda: fault.struck)
    subscribing.cancel()
    await asyncio.wait({subscribing})
    assert subscribing.cancelled()
    del subscribing
    gc.collect()
    # asyncio logs a task whose error was never retrieved.
    assert not caplog.records


async def test_a_subscription_sent_behind_catches_up(server: EventStoreDB, store: EventStoreDBEventStore) -> None:
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        assert server.subscriptions.send_behind("fell_behind", seconds=0.1) == 1
        for revision in range(50):
            await store.append("account-1", revision, some_events())
        await upstream.catch_up_to(await store.head())
        assert upstream.events == await whole_log(store)


async def test_the_tail_continues_after_every_break(server: EventStoreDB, store: EventStoreDBEventStore) -> None:
    tail = LogTail(store)
    following = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    for revision in range(100):
        await store.append("account-1", revision, some_events())
        if revision % 20 == 10:
            server.subscriptions.send_behind("dropped")
        if revision == 50:
            server.faults.add("refuse", on=["subscribe"], times=2)
    head = await store.head()
    async with asyncio.timeout(10):
        await tail.wait(head.position - 1)
    recent = tail.recent(BEGINNING, 1_000)
    assert recent is not None
    assert [entry.event for entry in recent[0]] == await whole_log(store)
    following.cancel()


async def test_a_tail_that_is_cut_since_it_is_slow_misses_nothing(
    server: EventStoreDB, store: EventStoreDBEventStore
) -> None:
    server.modes.live_buffer = 32
    tail = LogTail(store)
    following = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    for number in range(10):
        await store.append(f"account-{number}", NO_STREAM, some_events(100))
    async with asyncio.timeout(20):
        await tail.wait((await store.head()).position - 1)
    recent = tail.recent(BEGINNING, 10_000)
    assert recent is not None
    assert [entry.event for entry in recent[0]] == await whole_log(store)
    following.cancel()


async def test_closing_ends_the_tail(store: EventStoreDBEventStore) -> None:
    tail = LogTail(store)
    following = asyncio.create_task(tail.run())
    await until(lambda: tail.available)
    await store.close()
    async with asyncio.timeout(AT_ONCE_SECONDS):
        await following


async def test_an_append_larger_than_the_buffer_comes_whole(
    store: EventStoreDBEventStore, other: EventStoreDBEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_of, "BUFFER_EVENTS", 500)
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        for number in range(3):
            await other.append(f"account-{number}", NO_STREAM, some_events(900))
        await upstream.catch_up_to(await store.head())
        for page in upstream.pages:
            assert len(page.events) % 900 == 0
        assert upstream.events == await whole_log(store)


# Others in the same server


async def test_other_programs_writes_do_not_move_the_position(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    position = await store.append("account-1", NO_STREAM, some_events())
    here = LogPosition(position, "account-1", 1)
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        for _ in range(6):
            await write(client, "xaccount-1", 100)
        assert await store.head() == upstream.through == here
        await store.append("account-1", 1, some_events())
        await upstream.catch_up_to(await store.head())
        assert upstream.events == await whole_log(store)
        assert len(upstream.events) == 2


async def test_reading_continues_after_a_checkpoint(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    """So that a reader of few events need not read the log again; and the place that is given out stays an event's."""
    for number in range(3):
        after = await store.head()
        async with Subscription(store, after) as upstream:
            await upstream.catch_up()
            following = asyncio.create_task(upstream.page())
            await write(client, "others", 1_000)
            await until(lambda at=after: (store._log.resume(at) or 0) > at.position)  # type: ignore[misc]
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            assert upstream.through == after
            assert await store.head() == after
        page = await store.read_log(after)
        assert (list(page.events), page.through, page.caught_up) == ([], after, True)
        await store.append(f"account-{number}", NO_STREAM, some_events())
        assert [event.stream for event in (await store.read_log(after)).events] == [f"account-{number}"]
        assert (await store.head()).stream == f"account-{number}"


async def test_no_event_is_lost_after_a_checkpoint_that_is_ahead(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    """Whatever the length of the log when a subscription reaches its end."""
    server.modes.checkpoints_ahead = True
    async with opened(server.uri) as store:
        for number in range(70):
            head = await store.head()
            async with Subscription(store, BEGINNING) as upstream:
                await upstream.catch_up()
            async with Subscription(store, head) as upstream:
                await upstream.catch_up()
            at = await store.append(f"account-{number}", NO_STREAM, some_events())
            assert (await store.head()).position == at
            async with Subscription(store, head) as upstream:
                await upstream.catch_up()
                assert [event.position for event in upstream.events] == [at]
            assert [event.position for event in (await store.read_log(head)).events] == [at]


async def test_a_read_of_the_log_may_take_as_long_as_the_server_needs(
    server: EventStoreDB, store: EventStoreDBEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may pass millions of others' events on the way. A page of a stream has none to pass."""
    await store.append("account-1", NO_STREAM, some_events())
    monkeypatch.setattr(link, "READ_SECONDS", 0.2)
    server.faults.add("slow", seconds=0.6, on=["read"])
    assert len((await store.read_log(BEGINNING)).events) == 1
    with pytest.raises(StoreUnavailable):
        await store.read_stream("account-1")


async def test_the_server_compiles_no_regular_expression(
    server: EventStoreDB, client: AsyncEventStoreDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise AssertionError("a filter by a regular expression")

    monkeypatch.setattr(filters, "compiled", refuse)
    async with opened(server.uri) as store:
        await write(client, "xaccount-1", 3)
        await store.append("account-1", NO_STREAM, some_events())
        assert (await store.head()).stream == "account-1"
        assert [event.stream for event in await whole_log(store)] == ["account-1"]
        assert await store.hyphenated_number_streams() == []
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            assert [event.stream for event in upstream.events] == ["account-1"]


async def test_a_place_whose_event_was_scavenged_is_still_a_place(store: EventStoreDBEventStore) -> None:
    """The server refuses a position that is no event's; its stream and revision say which event of ours is before."""
    for revision in range(3):
        await store.append("account-1", revision, some_events())
    log = await whole_log(store)
    for after in (
        LogPosition(log[0].position + 1, "account-1", 1),
        LogPosition(log[0].position + 1, "account-9", 9),
        LogPosition(log[0].position + 1),
    ):
        assert list((await store.read_log(after)).events) == log[1:]
        assert list((await store.read_log(after, 1)).events)[:1] == log[1:2]
        async with Subscription(store, after) as upstream:
            await upstream.catch_up()
            assert upstream.events == log[1:]
    store._log._note_passed(log[2].place, log[2].position + 1)
    head = await store.head()
    store._log._note_passed(log[2].place, log[2].position + 1)
    await store.append("account-2", NO_STREAM, some_events())
    assert [event.stream for event in (await store.read_log(head)).events] == ["account-2"]


async def test_events_of_other_programs_in_our_streams_come_unchanged(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    await client.append_to_stream(
        "account-theirs",
        current_version=StreamState.ANY,
        events=[
            Proposed("Deposited", b"not JSON", metadata=b'{"part": 0, "parts": 5, "requestId": 7}'),
            Proposed("Deposited", b"\xff", content_type="application/octet-stream", metadata=b"\xff"),
            Proposed("openbank.accounts.v9.Later", b'{"a": 1}', metadata=b"[]"),
        ],
    )
    at = await store.append("account-1", 1, some_events())
    log = await whole_log(store)
    assert [event.data for event in log[1:4]] == [b"not JSON", b"\xff", b'{"a": 1}']
    assert [event.metadata for event in log[1:4]] == [Metadata(0)] * 3
    assert await store.head() == LogPosition(at, "account-1", 2)
    await write(client, "account-theirs", 3)
    head = await store.head()
    assert head.position > at
    assert head[1:] == ("account-1", 2)
    assert await store.position_at(TIME + 1) == (await store.read_log(BEGINNING)).through


@pytest.mark.parametrize(
    "about",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"part":' + b"9" * 5_000 + b"}",
        rb'{"$correlationId": "\ud800", "$causationId": "x\udfff", "ownerId": "\ud800"}',
        b'{"recordTime": "0001-01-01T00:00:00+23:59"}',
        b'{"recordTime": "9999-12-31T23:59:59-23:59"}',
        b"\xff",
    ],
    ids=lambda about: about[:40].decode("latin-1"),
)
async def test_metadata_of_others_is_read_as_far_as_it_can_be_stored_and_sent(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient, about: bytes
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    theirs = Proposed("openbank.accounts.v1.MoneyDeposited", b"{}", metadata=about)
    await client.append_to_stream("account-1", current_version=StreamState.ANY, events=[theirs])
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up_to(await store.head())
    for read in (store.read_log, store.read_log_as_stored):
        event = (await read(BEGINNING)).events[-1]
        assert event.metadata.record_time == 0
        said = event.metadata.correlation_id + event.metadata.causation_id + event.metadata.owner_id
        assert said.encode() == b""


@pytest.mark.parametrize("parts", [3, 1_000_000, 10**30, -1])
async def test_a_reader_does_not_wait_for_the_rest_of_a_command_that_never_comes(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient, parts: int
) -> None:
    """Appends are atomic: what is not in the stream by now is not on its way."""
    await store.append("account-1", NO_STREAM, some_events(2))
    about = json.dumps({"part": 0, "parts": parts}).encode()
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        await client.append_to_stream(
            "account-1",
            current_version=StreamState.ANY,
            events=[Proposed("openbank.accounts.v1.MoneyDeposited", b"{}", metadata=about)],
        )
        head = await store.head()
        await upstream.catch_up_to(head)
        assert (await store.read_log(BEGINNING)).through == head


async def test_the_head_is_named_by_the_last_event_of_ours(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    await write(client, "account-theirs", 1)
    assert (await store.head())[1:] == ("", 0)
    at = await store.append("account-1", NO_STREAM, some_events())
    await write(client, "account-theirs", 2_500)
    head = await store.head()
    assert head.position > at
    assert head[1:] == ("account-1", 1)
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        assert upstream.through == head


async def test_a_deleted_stream_reads_as_none_and_harms_no_other(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    for number in range(3):
        await store.append(f"account-{number}", NO_STREAM, some_events(2))
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        await client.delete_stream("account-1", current_version=StreamState.ANY)
        assert await store.read_stream("account-1") == []
        assert await store.locate("account-1", 1) is None
        assert await store.find_requests("account-1", [os.urandom(16)]) == []
        # Written again, it continues at its old revision, and is not a stream of the bank any more.
        with pytest.raises(StoreDamaged):
            await store.append("account-1", NO_STREAM, some_events())
        with pytest.raises(StoreDamaged):
            await store.read_stream("account-1")
        await store.append("account-2", 2, some_events())
        await upstream.catch_up_to(await store.head())
        assert (await store.head()).stream == "account-2"
        assert upstream.events == await whole_log(store)


async def test_a_tombstoned_stream_is_damage_and_harms_no_other(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    for number in range(3):
        await store.append(f"account-{number}", NO_STREAM, some_events(2))
    async with Subscription(store, BEGINNING) as upstream:
        await upstream.catch_up()
        await client.tombstone_stream("account-1", current_version=StreamState.ANY)
        with pytest.raises(StoreDamaged, match="account-1"):
            await store.read_stream("account-1")
        for expected in (NO_STREAM, 2):
            with pytest.raises(StoreDamaged, match="account-1"):
                await store.append("account-1", expected, some_events())
        assert await store.locate("account-1", 1) is None
        # The tombstone moves the log's end, and everybody gets there.
        head = await store.head()
        assert head[1:] == ("account-2", 2)
        await upstream.catch_up_to(head)
        assert (await store.read_log(head)).caught_up
        await store.append("account-2", 2, some_events())
        await upstream.catch_up_to(await store.head())
        assert all(event.type == STORED[0] for event in upstream.events)
        assert upstream.events == await whole_log(store)


async def test_links_are_not_followed(store: EventStoreDBEventStore, client: AsyncEventStoreDBClient) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    link = Proposed("$>", b"0@account-1", content_type="application/octet-stream")
    await client.append_to_stream("account-links", current_version=StreamState.ANY, events=[link])
    await client.append_to_stream("$ce-account", current_version=StreamState.ANY, events=[link])
    log = await whole_log(store)
    assert [event.stream for event in log] == ["account-1"]


async def write(client: AsyncEventStoreDBClient, stream: str, events: int) -> None:
    proposed = [Proposed("SomethingElse", b"{}") for _ in range(events)]
    await client.append_to_stream(stream, current_version=StreamState.ANY, events=proposed)


# On top of it: one aggregate, two instances

ACCOUNTS: Kind[Account] = Kind(account_stream, account.apply, lambda state: state.owner_id, lambda state: state.funds)


async def test_another_writer_wins_exactly_the_middle_of_a_chain(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    """Deposits queue up behind one whose answer is lost; another instance writes before it is tried again."""
    opened_ = AccountOpened("1", "john", "123", usd(0))
    await store.append(
        "account-1", NO_STREAM, [NewEvent(os.urandom(16), *codec.encode(opened_), Metadata(TIME, owner_id="john"))]
    )
    ours, theirs = accounts_of(store), accounts_of(other)
    for fault in ("cut_before", "cut_after", "hang", "hang_after") * 3:
        lost = server.faults.add(fault, times=1)
        chain = [asyncio.create_task(deposit(ours, 1)) for _ in range(5)]
        await until(lambda: lost.struck)  # noqa: B023
        chain += [asyncio.create_task(deposit(ours, 10)) for _ in range(5)]
        await deposit(theirs, 100)
        await asyncio.gather(*chain)

    balance = 0
    for event in (await store.read_stream("account-1"))[1:]:
        deposited = codec.decode(event.type, event.data, "1")
        assert isinstance(deposited, MoneyDeposited)
        balance += deposited.amount.minor
        assert deposited.balance_after.minor == balance
    assert balance == 12 * (5 * 1 + 5 * 10 + 100)


async def test_one_request_on_two_instances_at_once_is_done_once(
    server: EventStoreDB, store: EventStoreDBEventStore, other: EventStoreDBEventStore
) -> None:
    opened_ = AccountOpened("1", "john", "123", usd(0))
    await store.append(
        "account-1", NO_STREAM, [NewEvent(os.urandom(16), *codec.encode(opened_), Metadata(TIME, owner_id="john"))]
    )
    instances = [accounts_of(one) for one in (store, other)]
    for fault in ("cut_before", "cut_after", "hang_after"):
        request = Request(uuid4().bytes, hash=b"h" * 16)
        server.faults.add(fault, times=1)
        # Both may have made the same append, and neither can tell which of them was first.
        written = await asyncio.gather(*(deposit(one, 5, request) for one in instances * 3))
        assert sum(not replayed for _, replayed in written) in (1, 2)
        assert len({event for event, _ in written}) == 1
    assert len(await store.read_stream("account-1")) == 4


def accounts_of(store: EventStoreDBEventStore) -> Repository[Account]:
    return Repository(store, ACCOUNTS, system_clock, 10)


async def deposit(instance: Repository[Account], cents: int, request: Request | None = None) -> tuple[bytes, bool]:
    command = Deposit("1", usd(cents), "")
    written = await instance.execute("1", lambda state: (movements.deposit(state, command),), request or Request())
    return written.event_id, written.replayed


# Requests


class SomeIndex:
    """Knows a stream up to a revision, as views that lag behind do."""

    shared = True

    def __init__(self, revisions: dict[bytes, int], through: int) -> None:
        self.revisions = revisions
        self.through = through
        self.away = False
        self.asked = 0

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        self.asked += 1
        if self.away:
            raise ConnectionError("the views are away")
        return Indexed([self.revisions[one] for one in request_ids if one in self.revisions], self.through)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each read gave."""
    counts: list[int] = []
    original = Link.read

    async def counting(self: Link, **options: object) -> object:
        events = await original(self, **options)
        counts.append(len(events))
        return events

    monkeypatch.setattr(Link, "read", counting)
    return counts


async def long_stream(store: EventStoreDBEventStore, events: int) -> list[bytes]:
    """Each event of a request of its own."""
    requests = [os.urandom(16) for _ in range(events)]
    for first in range(0, events, 500):
        some = [some_event()._replace(metadata=Metadata(TIME, one, one)) for one in requests[first : first + 500]]
        await store.append("account-1", first, some)
    return requests


async def test_a_long_stream_is_read_once_for_all_requests(server: EventStoreDB, read: list[int]) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 3_000)
    async with opened(server.uri) as store:
        read.clear()
        assert [e.revision for e in await store.find_requests("account-1", requests[100:102])] == [101, 102]
        assert sum(read) == 3_002 or sum(read) == 3_000
        read.clear()
        for number in (0, 1_500, 2_999):
            assert [e.revision for e in await store.find_requests("account-1", [requests[number]])] == [number + 1]
        assert await store.find_requests("account-1", [os.urandom(16), bytes(16)]) == []
        assert sum(read) <= 3 * NEAR
        # Its own appends it knows; those of others it reads, once.
        async with opened(server.uri) as other:
            new = os.urandom(16)
            await store.append("account-1", 3_000, some_events())
            await other.append("account-1", 3_001, some_events(2, request_id=new))
            read.clear()
            for _ in range(2):
                assert [e.revision for e in await store.find_requests("account-1", [new])] == [3_002, 3_003]
        assert sum(read) <= 2 + 2


async def test_folding_a_long_stream_reads_it_for_the_requests_too(server: EventStoreDB, read: list[int]) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 2_500)
    async with opened(server.uri) as store:
        for after in (0, 1_000, 2_000):
            await store.read_stream("account-1", after)
        read.clear()
        assert [e.revision for e in await store.find_requests("account-1", [requests[7]])] == [8]
        assert sum(read) <= NEAR


async def test_a_request_is_found_despite_other_reads_of_the_stream(
    server: EventStoreDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 3_000)
    async with opened(server.uri) as store:
        await store.read_stream("account-1", 0)
        original, meanwhile = Link.read, [store.read_stream("account-1", 1_000)]

        async def overtaken(self: Link, **options: object) -> object:
            if meanwhile:
                await meanwhile.pop()
            return await original(self, **options)

        monkeypatch.setattr(Link, "read", overtaken)
        found = await store.find_requests("account-1", [requests[3], requests[1_500], requests[2_500]])
        assert [event.revision for event in found] == [4, 1_501, 2_501]


async def test_an_index_spares_the_reading_of_what_it_has_seen(server: EventStoreDB, read: list[int]) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 2_000)
    index = SomeIndex({one: revision for revision, one in enumerate(requests[:1_990], 1)}, 1_990)
    async with opened(server.uri, request_index=index) as store:
        read.clear()
        for number in (3, 1_994):
            assert [e.revision for e in await store.find_requests("account-1", [requests[number]])] == [number + 1]
        # What lies behind the index, and the event itself with what a replay needs.
        assert sum(read) <= 10 + 2 * NEAR
        # What it says is believed only where the stream says the same.
        index.revisions = {requests[3]: 5}
        assert await store.find_requests("account-1", [requests[3]]) == []


async def test_reading_an_old_stretch_does_not_make_the_rest_be_read(server: EventStoreDB, read: list[int]) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 3_000)
    index = SomeIndex({one: revision for revision, one in enumerate(requests, 1)}, 3_000)
    async with opened(server.uri, request_index=index) as store:
        await store.read_stream("account-1", 83, 17)
        read.clear()
        assert await store.find_requests("account-1", [os.urandom(16)], through=3_000) == []
        found = await store.find_requests("account-1", [requests[90]], through=3_000)
        assert [event.revision for event in found] == [91]
        assert sum(read) <= NEAR


async def test_an_index_on_a_server_is_not_asked_forever(server: EventStoreDB) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 1_500)
    index = SomeIndex({one: revision for revision, one in enumerate(requests, 1)}, 1_500)
    async with opened(server.uri, request_index=index) as store:
        await store.read_stream("account-1", 1_490)
        for number in (*range(100), 1_495):
            assert [e.revision for e in await store.find_requests("account-1", [requests[number]])] == [number + 1]
            assert await store.find_requests("account-1", [os.urandom(16)]) == []
        assert index.asked < 100


@pytest.mark.parametrize("trouble", ["away", "far behind"])
async def test_without_its_index_the_stream_itself_is_read_once(
    server: EventStoreDB, read: list[int], trouble: str
) -> None:
    async with opened(server.uri) as writer:
        requests = await long_stream(writer, 2_000)
    index = SomeIndex({}, 0)
    index.away = trouble == "away"
    async with opened(server.uri, request_index=index) as store:
        for number in (3, 1_994, 4):
            assert [e.revision for e in await store.find_requests("account-1", [requests[number]])] == [number + 1]
        assert index.asked == 1
        assert sum(read) < 4_000


async def test_memory_of_requests_is_bounded(server: EventStoreDB, monkeypatch: pytest.MonkeyPatch) -> None:
    from openbank.eventstore.eventstoredb import requests as module

    monkeypatch.setattr(module, "MEMORY_BYTES_MAX", 16 * 1_000)
    async with opened(server.uri) as store:
        for number in range(4):
            await store.append(f"account-{number}", NO_STREAM, [some_event() for _ in range(600)])
        known = await long_stream_in(store, "account-9", 1_500)
        for number in range(4):
            assert not await store.find_requests(f"account-{number}", [known[0]])
            assert store._streams.requests._bytes <= 16 * 1_000
        assert [e.revision for e in await store.find_requests("account-9", [known[0]])] == [1]


async def long_stream_in(store: EventStoreDBEventStore, stream: str, events: int) -> list[bytes]:
    requests = [os.urandom(16) for _ in range(events)]
    await store.append(stream, NO_STREAM, [some_event()._replace(metadata=Metadata(TIME, one)) for one in requests])
    return requests


# What is stored


async def test_an_event_is_stored_for_others_to_read(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    request = UUID("6f2c1f0e-3a3b-4c51-9a1f-0b6b4a1d2c3e")
    about = Metadata(1_709_208_000_123_456, request.bytes, b"\x01" * 16, 'the "c"', "its cause", "john", 0, 1)
    data = codec.encode(MoneyDeposited(usd(1250), "Salary", usd(101250)))
    await store.append("account-1", NO_STREAM, [NewEvent(request.bytes, *data, about)])
    (stored,) = await client.get_stream("account-1")
    assert stored.content_type == "application/json"
    assert json.loads(stored.data) == {
        "amount": {"currency_code": "USD", "units": "12", "nanos": 500_000_000},
        "description": "Salary",
        "balance_after": {"currency_code": "USD", "units": "1012", "nanos": 500_000_000},
        "currency_exponent": USD.exponent,
    }
    assert json.loads(stored.metadata) == {
        "recordTime": "2024-02-29T12:00:00.123456Z",
        "$correlationId": 'the "c"',
        "$causationId": "its cause",
        "requestId": str(request),
        "requestHash": "01" * 16,
        "ownerId": "john",
    }


async def test_events_are_read_in_binary_and_with_any_metadata(
    store: EventStoreDBEventStore, client: AsyncEventStoreDBClient
) -> None:
    type_name, data = STORED
    binary: ContentType = "application/octet-stream"
    await client.append_to_stream(
        "account-1",
        current_version=StreamState.NO_STREAM,
        events=[
            Proposed(type_name, data, content_type=binary),
            Proposed(type_name, codec.to_json(type_name, data)),
            Proposed(type_name, data, content_type=binary, metadata=b"{"),
            Proposed(
                type_name, data, content_type=binary, metadata=b'{"recordTime": 5, "requestId": "x", "part": "1"}'
            ),
        ],
    )
    events = await store.read_stream("account-1")
    assert [event.data for event in events] == [data] * 4
    assert [event.metadata for event in events] == [Metadata(0)] * 4


# Whose store it is


async def test_instances_that_start_together_agree_on_the_bank(server: EventStoreDB) -> None:
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(opened(server.uri)) for _ in range(8)))
        assert len({(store.bank_id, store.store_id) for store in stores}) == 1
        [key] = {store.token_key for store in stores}
        # No older instance has ever been here.
        assert (len(key.secret), key.seal_from) == (KEY_BYTES, 0)


async def test_instances_that_start_together_on_an_older_store_agree_on_its_key(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    """They do not seal yet: an instance of the earlier version may run beside them, and reads no sealed tokens."""
    older = {"format": 1, "bankId": "ab" * 16, "storeId": "cd" * 16}
    event = Proposed("openbank.StoreCreated", json.dumps(older).encode())
    await client.append_to_stream("openbank-store", current_version=StreamState.NO_STREAM, events=[event])
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(opened(server.uri)) for _ in range(8)))
        [key] = {store.token_key for store in stores}
        assert len(key.secret) == KEY_BYTES
        assert time.time() + 3_000 < key.seal_from < time.time() + 3_700
        # What it notes itself keeps the key, as what the earlier version notes does.
        await stores[0].note_numbers_adopted()
    records = await client.get_stream("openbank-store")
    # One instance has written it.
    assert len(records) == 3
    last = json.loads(records[-1].data)
    assert last == older | {"tokenKey": key.secret.hex(), "sealFrom": key.seal_from, "numbersWithoutHyphens": True}


async def test_a_reader_of_an_older_store_writes_no_key(server: EventStoreDB, client: AsyncEventStoreDBClient) -> None:
    older = {"format": 1, "bankId": "ab" * 16, "storeId": "cd" * 16}
    event = Proposed("openbank.StoreCreated", json.dumps(older).encode())
    await client.append_to_stream("openbank-store", current_version=StreamState.NO_STREAM, events=[event])
    async with opened(server.uri, make=False) as store:
        assert store.token_key == TokenKey()
    assert len(await client.get_stream("openbank-store")) == 1


async def test_a_store_is_made_for_a_bank_that_is_named_and_for_no_other(server: EventStoreDB) -> None:
    bank = "ab" * 16
    async with opened(server.uri, bank_id=bank) as store:
        assert store.bank_id == bank
    async with opened(server.uri, bank_id=bank):
        pass
    with pytest.raises(StoreRefused, match="not to"):
        await EventStoreDBEventStore.open(server.uri, bank_id="cd" * 16)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ({"format": 2, "bankId": "ab" * 16, "storeId": "cd" * 16}, "newer version"),
        ({"format": 1, "bankId": "ab"}, "not this program's"),
        ({"format": 1, "bankId": "ab" * 16, "storeId": "cd" * 16, "tokenKey": "ab"}, "not this program's"),
        (["something else"], "not this program's"),
    ],
)
async def test_a_store_of_another_kind_is_refused(
    server: EventStoreDB, client: AsyncEventStoreDBClient, identity: object, reason: str
) -> None:
    event = Proposed("openbank.StoreCreated", json.dumps(identity).encode())
    await client.append_to_stream("openbank-store", current_version=StreamState.NO_STREAM, events=[event])
    with pytest.raises(StoreRefused, match=reason):
        await EventStoreDBEventStore.open(server.uri)


async def test_several_banks_can_share_a_server(server: EventStoreDB) -> None:
    async with opened(server.uri) as one, opened(server.uri, prefix="b.") as other:
        assert one.bank_id != other.bank_id
        await one.append("account-1", NO_STREAM, some_events())
        events = some_events(2)
        await other.append("account-1", NO_STREAM, events)
        assert_recorded(await whole_log(other), "account-1", 1, events)
        assert len(await whole_log(one)) == 1


async def test_a_start_waits_for_a_late_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = EventStoreDBProcess(tmp_path / "log.db")
    process.start()
    process.stop()
    opening = asyncio.create_task(EventStoreDBEventStore.open(process.uri, wait_seconds=20))
    await asyncio.sleep(1)
    assert [record.message for record in caplog.records] == ["waiting for EventStoreDB"]
    await asyncio.to_thread(process.start)
    store = await opening
    await store.append("account-1", NO_STREAM, some_events())
    await store.close()
    process.stop()


async def test_a_server_that_does_not_come_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        await EventStoreDBEventStore.open(AWAY, wait_seconds=0.6)


@pytest.mark.parametrize("address", ["mongodb://u:secret@h", "esdb://", "esdb://u:secret@h?Tls=perhaps", "secret"])
async def test_a_malformed_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(StoreRefused) as refused:
        await EventStoreDBEventStore.open(address)
    assert "secret" not in str(refused.value)


async def test_reading_from_followers_is_refused() -> None:
    with pytest.raises(StoreRefused, match="leader"):
        await EventStoreDBEventStore.open("esdb://h1,h2?Tls=false&NodePreference=follower")


async def test_a_cluster_is_asked_for_its_leader(server: EventStoreDB) -> None:
    """esdbclient finds it; here the stand-in is all nodes of the cluster."""
    async with opened(f"esdb://{server.address},{server.address}?Tls=false") as store:
        server.faults.add("cut_after", times=3)
        events = some_events()
        await store.append("account-1", NO_STREAM, events)
        async with Subscription(store, BEGINNING) as upstream:
            await upstream.catch_up()
            assert_recorded(upstream.events, "account-1", 1, events)
        assert payload("x")

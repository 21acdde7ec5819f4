"""Which node leads, what one that does not is worth, and networks that are slow or swallow: on the stand-in."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import BEGINNING, NO_STREAM
from openbank.following.tail import LogTail
from tests.client.proxy import proxy_of
from tests.eventstore.conformance import some_events, whole_log
from tests.stand_ins.eventstoredb.cluster import Cluster, cluster
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import EventStoreDBProcess, eventstoredb

AFTER_ELECTION_SECONDS_MAX = 3.0
NOTICED_SECONDS_MAX = 5.0
CLAIMS = pytest.mark.parametrize("claims_to_lead", [False, True], ids=["knows no leader", "claims to lead"])


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with cluster() as nodes:
        yield nodes


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@asynccontextmanager
async def opened(address: str, **options: float) -> AsyncIterator[EventStoreDBEventStore]:
    store = await EventStoreDBEventStore.open(address, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def following(store: EventStoreDBEventStore) -> AsyncIterator[LogTail]:
    tail = LogTail(store)
    running = asyncio.create_task(tail.run())
    try:
        await until(lambda: tail.available)
        yield tail
    finally:
        running.cancel()


async def until(said: Callable[[], object], seconds_max: float = NOTICED_SECONDS_MAX) -> None:
    async with asyncio.timeout(seconds_max):
        while not said():  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.01)


async def append(store: EventStoreDBEventStore, stream: str, revision: int) -> None:
    """Retries any number of times."""
    events = some_events()
    while True:
        with suppress(StoreUnavailable, OutcomeUnknown):
            await store.append(stream, revision, events)
            return
        await asyncio.sleep(0.02)


# Seeds


@CLAIMS
async def test_all_seeds_are_asked_for_the_leader(nodes: Cluster, claims_to_lead: bool) -> None:
    async with opened(nodes.uri) as store:
        await store.append("account-1", NO_STREAM, some_events())
    for _ in range(2):
        old = nodes.leader
        nodes.cut_off(old, claims_to_lead=claims_to_lead)
        nodes.elect(nodes.others[0])
        # The one that is cut off is the first that is named.
        seeds = sorted(nodes.nodes, key=lambda node: node is not old)
        uri = f"esdb://{','.join(node.address for node in seeds)}?Tls=false"
        async with opened(uri) as store:
            await store.append("account-2", len(await store.read_stream("account-2")), some_events())
        await nodes.rejoin(old)


async def test_the_answer_of_each_seed_is_reported_if_none_leads(nodes: Cluster) -> None:
    nodes.cut_off(nodes.leader)
    with pytest.raises(StoreUnavailable) as refused:
        await EventStoreDBEventStore.open(nodes.uri)
    for node in nodes.nodes:
        assert node.address in str(refused.value).partition(": ")[2]


async def test_a_single_seed_leads_to_the_leader(nodes: Cluster) -> None:
    async with opened(nodes.others[0].uri) as store, following(store) as tail:
        for revision in range(3):
            async with asyncio.timeout(NOTICED_SECONDS_MAX):
                await append(store, "account-1", revision)
            nodes.elect(nodes.others[0])
        await until(lambda: len((tail.recent(BEGINNING, 10) or ((),))[0]) == 3)


# The lead moves


@CLAIMS
async def test_after_an_election_all_calls_succeed_within_seconds(nodes: Cluster, claims_to_lead: bool) -> None:
    async with opened(nodes.uri) as store, following(store) as tail:
        revision = 0
        for _ in range(3):
            await append(store, "account-1", revision)
            old = nodes.leader
            nodes.cut_off(old, claims_to_lead=claims_to_lead)
            trying = asyncio.create_task(append(store, "account-1", revision + 1))
            await asyncio.sleep(0.5)
            nodes.elect(nodes.others[0])
            async with asyncio.timeout(AFTER_ELECTION_SECONDS_MAX):
                await trying
            revision += 2
            await until(lambda: tail.available)
            await nodes.rejoin(old)
        async with asyncio.timeout(NOTICED_SECONDS_MAX):
            await tail.wait((await store.head()).position - 1)
        recent = tail.recent(BEGINNING, 100)
        assert recent is not None
        assert [entry.event for entry in recent[0]] == await whole_log(store)
        assert len(recent[0]) == 6


async def test_a_watcher_learns_that_its_node_no_longer_leads(nodes: Cluster) -> None:
    """Though its subscription stands, and nothing is written here."""
    async with opened(nodes.uri) as watching, following(watching) as tail:
        await until(lambda: watching.confirmed_seconds_ago < 2)
        cut_off_at = asyncio.get_running_loop().time()
        nodes.cut_off(nodes.leader)
        while tail.available:
            # As of then, nothing can have been missed.
            since = asyncio.get_running_loop().time() - cut_off_at
            assert since < NOTICED_SECONDS_MAX
            assert watching.confirmed_seconds_ago >= since - 0.1
            await asyncio.sleep(0.02)
        nodes.elect(nodes.others[0])
        async with opened(nodes.uri) as writing:
            position = await writing.append("account-1", NO_STREAM, some_events())
        async with asyncio.timeout(NOTICED_SECONDS_MAX):
            await tail.wait(position - 1)


async def test_without_a_leader_nothing_can_be_written_and_that_is_known(nodes: Cluster) -> None:
    async with opened(nodes.uri, settle_seconds=0.5) as store:
        await store.append("account-1", NO_STREAM, some_events())
        old = nodes.leader
        nodes.cut_off(old)
        # Surely: the node has said that it takes none.
        with pytest.raises(StoreUnavailable):
            await store.append("account-1", 1, some_events())
        for _ in range(20):
            assert not store.writable
            await asyncio.sleep(0.05)
        nodes.elect(nodes.others[0])
        await until(lambda: store.writable)
        await append(store, "account-1", 1)


# Networks


async def test_a_connection_that_leads_nowhere_is_replaced(server: EventStoreDB) -> None:
    """A single node; a new connection to it works."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxy_of(server.address))
        store = await stack.enter_async_context(opened(f"esdb://{proxy.address}?Tls=false"))
        tail = await stack.enter_async_context(following(store))
        await store.append("account-1", NO_STREAM, some_events())
        proxy.swallow()
        async with asyncio.timeout(NOTICED_SECONDS_MAX):
            await append(store, "account-1", 1)
        async with asyncio.timeout(NOTICED_SECONDS_MAX):
            await tail.wait((await store.head()).position - 1)


async def test_a_slow_network_is_not_a_silent_server(server: EventStoreDB) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxy_of(server.address))
        proxy.delay_seconds = 0.6
        store = await stack.enter_async_context(opened(f"esdb://{proxy.address}?Tls=false", wait_seconds=30))
        store.be_patient(0)

        async def call(number: int) -> None:
            await store.append(f"account-{number}", NO_STREAM, some_events())
            assert len(await store.read_stream(f"account-{number}")) == 1
            assert list(await store.read_stream(f"account-none-{number}")) == []

        # None raises.
        await asyncio.gather(*(call(number) for number in range(64)))


async def test_a_pause_of_the_server_causes_no_error(tmp_path: Path) -> None:
    with EventStoreDBProcess(tmp_path / "log.db") as process:
        async with opened(process.uri) as store, following(store) as tail:
            await store.append("account-1", NO_STREAM, some_events())
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            calls = [
                *(
                    asyncio.create_task(store.append(f"account-{number}", NO_STREAM, some_events()))
                    for number in (2, 3)
                ),
                asyncio.create_task(store.read_stream("account-1")),
            ]
            await asyncio.sleep(3)
            os.kill(process.pid, signal.SIGCONT)
            await asyncio.gather(*calls)
            assert tail.available


async def test_a_job_waits_for_the_server_as_long_as_its_flag_says(tmp_path: Path) -> None:
    with EventStoreDBProcess(tmp_path / "log.db") as process:
        async with opened(process.uri, wait_seconds=30) as store:
            await store.append("account-1", NO_STREAM, some_events())
            await asyncio.to_thread(process.kill)
            reading = asyncio.create_task(store.read_log(BEGINNING))
            writing = asyncio.create_task(store.append("account-1", 1, some_events()))
            await asyncio.sleep(6)
            await asyncio.to_thread(process.start)
            assert len((await reading).events) >= 1
            await writing

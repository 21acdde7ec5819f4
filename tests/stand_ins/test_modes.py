"""What the real server does now and then, and the stand-in when it is asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from esdbclient import AsyncEventStoreDBClient, Checkpoint, RecordedEvent
from esdbclient.exceptions import (
    ConsumerTooSlow,
    DeadlineExceeded,
    EventStoreDBClientException,
    NodeIsNotLeader,
    NotFound,
    ServiceUnavailable,
    WrongCurrentVersion,
)

from tests.stand_ins.clients import ANY, NO_STREAM, connected, length, new_events
from tests.stand_ins.eventstoredb.cluster import Cluster, cluster
from tests.stand_ins.eventstoredb.faults import Kind
from tests.stand_ins.eventstoredb.log import Copy, Log
from tests.stand_ins.eventstoredb.server import EventStoreDB

SOON_SECONDS = 0.2


async def is_silent(subscription: AsyncIterator[RecordedEvent]) -> bool:
    waiting = asyncio.ensure_future(anext(subscription))
    done, _ = await asyncio.wait({waiting}, timeout=SOON_SECONDS)
    if not done:
        waiting.cancel()
        await asyncio.wait({waiting})
    return not done


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with cluster() as nodes:
        yield nodes


async def test_a_refusal_comes_before_the_winner_can_be_read(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    server.modes.pause_seconds, server.modes.pause_chance = 0.5, 1.0
    winner = asyncio.create_task(client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1)))
    while not server.log.streams.get("a"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(WrongCurrentVersion):
        await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1))
    assert not winner.done()
    server.modes.pause_chance = 0.0
    with pytest.raises(NotFound):
        await length(client, "a")
    await winner
    assert await length(client, "a") == 1


async def test_a_repeat_before_the_commit_is_dropped_and_recognised_after_it(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    server.modes.pause_seconds, server.modes.pause_chance = 0.8, 1.0
    events = new_events(1)

    async def append(seconds: float | None = None) -> int:
        return await client.append_to_stream("a", current_version=NO_STREAM, events=events, timeout=seconds)

    first = asyncio.create_task(append())
    while not server.log.streams.get("a"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await append(0.1)
    assert await first == await append()
    assert await length(client, "a") == 1


@pytest.mark.parametrize("kind", ["cut_after", "hang_after"])
async def test_a_write_is_committed_although_its_answer_is_lost(
    server: EventStoreDB, client: AsyncEventStoreDBClient, kind: Kind
) -> None:
    await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1))
    server.modes.pause_seconds, server.modes.pause_chance = 0.5, 1.0
    fault = server.faults.add(kind, times=1)
    events = new_events(1)
    lost = asyncio.create_task(client.append_to_stream("a", current_version=0, events=events, timeout=0.1))
    while not fault.struck:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(EventStoreDBClientException):
        await lost
    async with asyncio.timeout(5):
        await server.log.until_committed(server.log.head)
    assert await client.append_to_stream("a", current_version=0, events=events)
    assert await length(client, "a") == 2


async def test_a_position_past_the_end_is_waited_at(server: EventStoreDB, client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    past = server.log.head + 1_000
    assert [event async for event in await client.read_all(commit_position=past)] == []
    subscription = await client.subscribe_to_all(commit_position=past)
    await client.append_to_stream("b", current_version=ANY, events=new_events(1))
    assert await is_silent(subscription)


async def test_the_event_at_a_checkpoint_ahead_is_skipped(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    server.modes.checkpoints_ahead = True
    await client.append_to_stream("a", current_version=ANY, events=new_events(32 - len(server.log.records) % 32))
    running = await client.subscribe_to_all(include_checkpoints=True, filter_by_stream_name=True, window_size=32)
    checkpoint = await anext(item async for item in running if isinstance(item, Checkpoint))
    assert checkpoint.commit_position == server.log.head
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    late = await client.subscribe_to_all(commit_position=checkpoint.commit_position)
    assert (await anext(late)).stream_position == server.log.length("a") - 1


async def test_a_live_subscription_with_many_events_waiting_is_cut(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    server.modes.live_buffer = 32
    subscription = await client.subscribe_to_all(from_end=True)
    await client.append_to_stream("a", current_version=ANY, events=new_events(100))
    with pytest.raises(ConsumerTooSlow):
        async for _ in subscription:
            pass


async def test_scavenging_removes_what_readers_do_not_get(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(5))
    position = server.log.streams["a"].records[0].position
    running = await client.subscribe_to_all()
    assert (await anext(running)).stream_position == 0
    await client.set_stream_metadata("a", metadata={"$tb": 3})
    assert server.log.scavenge() == 3
    assert [event.stream_position async for event in await client.read_all()] == [3, 4]
    with pytest.raises(EventStoreDBClientException):
        [event async for event in await client.read_all(commit_position=position)]


async def test_a_restart_can_bring_an_older_copy_of_the_log(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    backup = Copy(server.log)
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    await server.restart()
    assert await length(client, "a") == 4
    await server.restart(Log(backup))
    assert await length(client, "a") == 2
    await server.restart(Log())
    with pytest.raises(NotFound):
        await length(client, "a")


@pytest.mark.parametrize("lost", [False, True])
async def test_a_leader_that_is_deposed_does_not_learn_what_becomes_of_its_appends(nodes: Cluster, lost: bool) -> None:
    old = nodes.leader
    old.modes.pause_seconds, old.modes.pause_chance = 1.0, 1.0
    async with connected(old.uri) as there:
        subscription = await there.subscribe_to_all()
        appending = asyncio.create_task(there.append_to_stream("a", current_version=ANY, events=new_events(1)))
        while not nodes.log.streams.get("a"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        nodes.cut_off(old, loses_uncommitted=lost)
        nodes.elect(nodes.others[0])
        async with connected(nodes.leader.uri) as here:
            await here.append_to_stream("b", current_version=ANY, events=new_events(1))
            assert [event.stream_name async for event in await here.read_all()] == ["b"] if lost else ["a", "b"]
        assert await is_silent(subscription)
        assert not appending.done()
        await nodes.rejoin(old)
        with pytest.raises(EventStoreDBClientException):
            await appending


async def test_a_leader_that_is_deposed_meanwhile_writes_nothing(nodes: Cluster) -> None:
    old = nodes.leader
    old.faults.add("slow", seconds=0.3, times=1)
    async with connected(old.uri) as there:
        appending = asyncio.create_task(there.append_to_stream("a", current_version=ANY, events=new_events(1)))
        while not old.faults.active[0].struck:  # noqa: ASYNC110
            await asyncio.sleep(0)
        nodes.cut_off(old)
        nodes.elect(nodes.others[0])
        await asyncio.sleep(0.4)
        assert not appending.done()
        assert not old.log.streams.get("a")
        await nodes.rejoin(old)
        with pytest.raises(EventStoreDBClientException):
            await appending


async def test_uncommitted_events_are_dropped_from_the_disk_too(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    async with cluster(file) as nodes:
        old = nodes.leader
        old.modes.pause_seconds, old.modes.pause_chance = 1.0, 1.0
        async with connected(old.uri) as there:
            appending = asyncio.create_task(there.append_to_stream("a", current_version=ANY, events=new_events(1)))
            while not nodes.log.streams.get("a"):  # noqa: ASYNC110
                await asyncio.sleep(0)
            nodes.cut_off(old, loses_uncommitted=True)
            nodes.elect(nodes.others[0])
            async with connected(nodes.leader.uri) as here:
                await here.append_to_stream("a", current_version=ANY, events=new_events(2))
            appending.cancel()
    async with cluster(file) as nodes, connected(nodes.uri) as client:
        assert await length(client, "a") == 2


async def test_followers_name_the_leader(nodes: Cluster) -> None:
    async with connected(nodes.uri) as client:
        assert client.connection_target == nodes.leader.address
    async with connected(nodes.others[0].uri) as client:
        with pytest.raises(NodeIsNotLeader) as refused:
            await client.append_to_stream("a", current_version=ANY, events=new_events(1))
        assert refused.value.leader_grpc_target == nodes.leader.address
        with pytest.raises(NodeIsNotLeader):
            await client.get_stream("a")


async def test_a_leader_that_is_cut_off_is_silent_and_refuses(nodes: Cluster) -> None:
    old = nodes.leader
    async with connected(old.uri) as there, connected(f"{old.uri}&NodePreference=follower") as lenient:
        await there.append_to_stream("a", current_version=ANY, events=new_events(1))
        subscription = await there.subscribe_to_all()
        assert (await anext(subscription)).stream_name == "a"
        nodes.cut_off(old)
        nodes.elect(nodes.others[0])
        async with connected(nodes.leader.uri) as here:
            await here.append_to_stream("a", current_version=ANY, events=new_events(1))
            assert await length(here, "a") == 2
        assert await is_silent(subscription)
        with pytest.raises(ServiceUnavailable, match="Server Is Not Ready"):
            await length(there, "a")
        with pytest.raises(EventStoreDBClientException):
            await there._connection.streams.batch_append("a", ANY, new_events(1))
        assert await length(lenient, "a") == 1
        await nodes.rejoin(old)
        assert await length(lenient, "a") == 2

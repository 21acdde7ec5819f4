import asyncio
from collections.abc import AsyncIterable

import pytest
from esdbclient import AsyncEventStoreDBClient, CaughtUp, Checkpoint, RecordedEvent
from esdbclient.exceptions import ConsumerTooSlow, StreamIsDeleted

from tests.stand_ins.clients import ANY, NO_STREAM, new_events
from tests.stand_ins.eventstoredb.server import EventStoreDB


async def take(subscription: AsyncIterable[RecordedEvent], count: int) -> list[RecordedEvent]:
    iterator = aiter(subscription)
    async with asyncio.timeout(5):
        return [await anext(iterator) for _ in range(count)]


def kinds(events: list[RecordedEvent]) -> list[str]:
    names = {Checkpoint: "checkpoint", CaughtUp: "caught up"}
    return [names.get(type(event), f"{event.stream_name}@{event.stream_position}") for event in events]


async def test_history_then_caught_up_once_then_live(client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    subscription = await client.subscribe_to_stream("a", include_caught_up=True)
    assert kinds(await take(subscription, 3)) == ["a@0", "a@1", "caught up"]
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    assert kinds(await take(subscription, 2)) == ["a@2", "a@3"]


async def test_a_subscription_waits_for_a_deleted_stream_and_continues(client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    running = await client.subscribe_to_stream("a", stream_position=1)
    await client.delete_stream("a", current_version=1)
    waiting = await client.subscribe_to_stream("a")
    await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1))
    assert kinds(await take(running, 1)) == ["a@2"]
    assert kinds(await take(waiting, 1)) == ["a@2"]


async def test_a_tombstone_ends_a_subscription(client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    running = await client.subscribe_to_stream("a", include_caught_up=True)
    assert kinds(await take(running, 2)) == ["a@0", "caught up"]
    waiting = await client.subscribe_to_stream("missing")
    await client.tombstone_stream("a", current_version=ANY)
    await client.tombstone_stream("missing", current_version=ANY)
    assert [event.type for event in await take(running, 1)] == ["$streamDeleted"]
    for ended in (running, waiting):
        with pytest.raises(StreamIsDeleted):
            await take(ended, 1)


async def test_checkpoints_also_when_nothing_matches(client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(25))
    head = await client.get_commit_position()
    subscription = await client.subscribe_to_all(
        filter_include=("nothing",), include_checkpoints=True, window_size=5, checkpoint_interval_multiplier=2
    )
    found = await take(subscription, 2)
    assert kinds(found) == ["checkpoint"] * 2
    assert 0 < (found[0].commit_position or 0) < (found[1].commit_position or 0) < head
    await client.append_to_stream("b", current_version=ANY, events=new_events(10))
    assert ((await take(subscription, 1))[0].commit_position or 0) > head


async def test_a_subscription_starts_from_a_position_or_from_the_end(client: AsyncEventStoreDBClient) -> None:
    first = await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    after = await client.subscribe_to_all(commit_position=first)
    live = await client.subscribe_to_all(from_end=True)
    await client.append_to_stream("b", current_version=ANY, events=new_events(1))
    assert kinds(await take(after, 2)) == ["a@1", "b@0"]
    assert kinds(await take(live, 1)) == ["b@0"]


async def test_a_subscription_sent_behind_catches_up_again(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    subscription = await client.subscribe_to_all(include_caught_up=True)
    assert kinds(await take(subscription, 2)) == ["a@0", "caught up"]
    assert server.subscriptions.send_behind(prefix="$all", seconds=0.2) == 1
    await client.append_to_stream("a", current_version=ANY, events=new_events(2))
    assert kinds(await take(subscription, 3)) == ["a@1", "a@2", "caught up"]


async def test_a_subscription_that_is_too_slow_is_dropped(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    subscription = await client.subscribe_to_stream("a")
    assert server.subscriptions.send_behind("dropped", prefix="b") == 0
    assert server.subscriptions.send_behind("dropped", prefix="a") == 1
    with pytest.raises(ConsumerTooSlow):
        await take(subscription, 1)


async def test_many_subscriptions_see_all_in_order(client: AsyncEventStoreDBClient) -> None:
    subscriptions = [await client.subscribe_to_all() for _ in range(10)]
    for number in range(20):
        await client.append_to_stream(f"s{number % 3}", current_version=ANY, events=new_events(3))
    seen = [await take(subscription, 60) for subscription in subscriptions]
    assert all(kinds(events) == kinds(seen[0]) for events in seen)
    positions = [event.commit_position or 0 for event in seen[0]]
    assert positions == sorted(set(positions))

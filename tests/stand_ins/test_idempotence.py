"""The table of what EventStoreDB makes of a repeat, row by row."""

import pytest
from esdbclient import AsyncEventStoreDBClient, NewEvent
from esdbclient.exceptions import StreamIsDeleted, WrongCurrentVersion

from tests.stand_ins.clients import ANY, EXISTS, NO_STREAM, Version, length, new_events
from tests.stand_ins.eventstoredb.server import EventStoreDB


@pytest.fixture
async def first(client: AsyncEventStoreDBClient) -> list[NewEvent]:
    events = new_events(3)
    await client.append_to_stream("a", current_version=NO_STREAM, events=events)
    return events


@pytest.mark.parametrize("version", [NO_STREAM, ANY, EXISTS])
async def test_an_append_of_known_ids_writes_nothing(
    client: AsyncEventStoreDBClient, first: list[NewEvent], version: Version
) -> None:
    head = await client.get_commit_position()
    assert await client.append_to_stream("a", current_version=version, events=first) == head
    assert await length(client, "a") == 3


async def test_known_ids_at_a_later_version_are_written_again(
    client: AsyncEventStoreDBClient, first: list[NewEvent]
) -> None:
    await client.append_to_stream("a", current_version=2, events=first)
    assert await length(client, "a") == 6


@pytest.mark.parametrize(("version", "part"), [(NO_STREAM, slice(0, 2)), (0, slice(1, 3)), (0, slice(1, 2))])
async def test_a_part_at_its_own_version_is_known(
    client: AsyncEventStoreDBClient, first: list[NewEvent], version: Version, part: slice
) -> None:
    position = await client.append_to_stream("a", current_version=version, events=first[part])
    stored = await client.get_stream("a")
    assert position == stored[part][-1].commit_position
    assert len(stored) == 3


@pytest.mark.parametrize("version", [NO_STREAM, ANY, EXISTS])
async def test_a_repeat_with_one_more_event_is_refused(
    client: AsyncEventStoreDBClient, first: list[NewEvent], version: Version
) -> None:
    with pytest.raises(WrongCurrentVersion):
        await client.append_to_stream("a", current_version=version, events=[*first, *new_events(1)])
    assert await length(client, "a") == 3


async def test_an_append_in_another_order_is_refused(client: AsyncEventStoreDBClient, first: list[NewEvent]) -> None:
    with pytest.raises(WrongCurrentVersion):
        await client.append_to_stream("a", current_version=NO_STREAM, events=first[::-1])


async def test_another_stream_takes_the_same_ids(client: AsyncEventStoreDBClient, first: list[NewEvent]) -> None:
    await client.append_to_stream("b", current_version=NO_STREAM, events=first)
    assert await length(client, "b") == 3
    # The memory of ANY knows an id in the stream that had it first, and there only.
    await client.append_to_stream("b", current_version=ANY, events=first)
    assert await length(client, "b") == 6
    await client.append_to_stream("a", current_version=ANY, events=first)
    assert await length(client, "a") == 3


async def test_one_id_twice_in_an_append_is_written_twice(client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1) * 2)
    assert await length(client, "a") == 2


async def test_a_known_id_with_other_data_is_dropped(client: AsyncEventStoreDBClient, first: list[NewEvent]) -> None:
    other = NewEvent(type="Other", data=b"{}", id=first[0].id)
    await client.append_to_stream("a", current_version=ANY, events=[other])
    assert [event.type for event in await client.get_stream("a")] == ["MoneyDeposited"] * 3


async def test_without_its_memory_only_expected_versions_are_exact(
    server: EventStoreDB, client: AsyncEventStoreDBClient, first: list[NewEvent]
) -> None:
    server.forget()
    await client.append_to_stream("a", current_version=NO_STREAM, events=first)
    assert await length(client, "a") == 3
    await client.append_to_stream("a", current_version=ANY, events=first)
    assert await length(client, "a") == 6


async def test_its_memory_can_be_turned_off(
    server: EventStoreDB, client: AsyncEventStoreDBClient, first: list[NewEvent]
) -> None:
    server.faults.add("forget", times=1, prefix="a")
    await client.append_to_stream("a", current_version=EXISTS, events=first)
    assert await length(client, "a") == 6
    await client.append_to_stream("a", current_version=EXISTS, events=first)
    assert await length(client, "a") == 6


async def test_repeats_after_a_soft_delete(client: AsyncEventStoreDBClient, first: list[NewEvent]) -> None:
    await client.delete_stream("a", current_version=2)
    await client.append_to_stream("a", current_version=NO_STREAM, events=first)  # known, so it stays deleted
    await client.append_to_stream("a", current_version=ANY, events=first)
    assert await client.get_current_version("a") is NO_STREAM
    with pytest.raises(StreamIsDeleted):
        await client.append_to_stream("a", current_version=EXISTS, events=first)
    await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(1))
    assert [event.stream_position for event in await client.get_stream("a")] == [3]
    await client.append_to_stream("a", current_version=NO_STREAM, events=first)
    assert await client.get_current_version("a") == 3


async def test_the_memory_is_bounded(server: EventStoreDB, client: AsyncEventStoreDBClient) -> None:
    server.log.remembered.limit = 200
    first = new_events(1)
    await client.append_to_stream("a", current_version=NO_STREAM, events=first)
    await client.append_to_stream("a", current_version=ANY, events=new_events(10))
    await client.append_to_stream("a", current_version=ANY, events=first)
    assert await length(client, "a") == 12
    await client.append_to_stream("a", current_version=NO_STREAM, events=first)
    assert await length(client, "a") == 12

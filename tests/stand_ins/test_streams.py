"""What the recordings show only in part: deletes, limits and metadata in combination, links, odd names, limits."""

import itertools
import json

import pytest
from esdbclient import AsyncEventStoreDBClient, NewEvent
from esdbclient.exceptions import (
    ExceptionThrownByHandler,
    MaximumAppendSizeExceededError,
    NotFound,
    StreamIsDeleted,
    UnknownError,
    WrongCurrentVersion,
)

from tests.stand_ins.clients import ANY, EXISTS, NO_STREAM, all_streams, new_events, revisions
from tests.stand_ins.eventstoredb.server import EventStoreDB


async def append(client: AsyncEventStoreDBClient, stream: str, count: int) -> None:
    await client.append_to_stream(stream, current_version=ANY, events=new_events(count))


async def test_limits_set_on_a_soft_deleted_stream_bring_back_what_is_written_after(
    client: AsyncEventStoreDBClient,
) -> None:
    await append(client, "a", 3)
    await client.delete_stream("a", current_version=2)
    metadata, version = await client.get_stream_metadata("a")
    assert metadata == {"$tb": 2**63 - 1}
    await client.set_stream_metadata("a", metadata={"$maxCount": 2}, current_version=version)
    assert (await client.get_stream_metadata("a"))[0] == {"$maxCount": 2, "$tb": 3}
    assert await revisions(client, "a") == []
    await append(client, "a", 4)
    assert await revisions(client, "a") == [5, 6]


async def test_a_write_without_events_brings_a_soft_deleted_stream_back(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 2)
    await client.delete_stream("a", current_version=1)
    with pytest.raises(WrongCurrentVersion):
        await client.append_to_stream("a", current_version=NO_STREAM, events=[])
    await client.append_to_stream("a", current_version=ANY, events=[])
    assert await revisions(client, "a") == []


async def test_other_metadata_is_kept_when_a_stream_comes_back(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 2)
    await client.set_stream_metadata("a", metadata={"owner": "x", "$tb": 2**63 - 1})
    with pytest.raises(NotFound):
        await revisions(client, "a")
    await append(client, "a", 1)
    assert (await client.get_stream_metadata("a"))[0] == {"owner": "x", "$tb": 2}
    assert await revisions(client, "a") == [2]


async def test_a_stream_with_metadata_alone_exists_for_writers(client: AsyncEventStoreDBClient) -> None:
    await client.set_stream_metadata("a", metadata={"$maxCount": 1})
    await client.append_to_stream("a", current_version=EXISTS, events=new_events(2))
    assert await revisions(client, "a") == [1]


async def test_a_stream_with_metadata_alone_can_be_deleted(client: AsyncEventStoreDBClient) -> None:
    await client.set_stream_metadata("a", metadata={"$maxCount": 1})
    await client.delete_stream("a", current_version=ANY)
    with pytest.raises(StreamIsDeleted):
        await client.delete_stream("a", current_version=EXISTS)


@pytest.mark.parametrize(
    "metadata", [{"$maxCount": 0}, {"$maxCount": "2"}, {"$tb": -1}, {"$maxCount": 2, "$maxAge": 0}]
)
async def test_one_wrong_limit_spoils_them_all(client: AsyncEventStoreDBClient, metadata: dict[str, object]) -> None:
    await append(client, "a", 3)
    await client.set_stream_metadata("a", metadata=metadata)
    assert await revisions(client, "a") == [0, 1, 2]


async def test_old_events_of_a_stream_with_a_maximum_age_are_hidden(
    server: EventStoreDB, client: AsyncEventStoreDBClient
) -> None:
    await append(client, "a", 3)
    records = server.log.streams["a"].records
    records[:2] = [record._replace(created=record.created - 60 * 10_000_000) for record in records[:2]]
    await client.set_stream_metadata("a", metadata={"$maxAge": 30})
    assert await revisions(client, "a") == [2]


async def test_a_tombstone_takes_the_metadata_along(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 1)
    await client.tombstone_stream("a", current_version=0)
    for call in (client.get_stream("a"), client.get_stream("$$a"), client.set_stream_metadata("a", metadata={})):
        with pytest.raises(StreamIsDeleted):
            await call
    with pytest.raises(StreamIsDeleted):
        await client.tombstone_stream("a", current_version=ANY)


async def test_tombstoned_metadata_limits_nothing(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 3)
    await client.set_stream_metadata("a", metadata={"$maxCount": 1})
    await client.tombstone_stream("$$a", current_version=0)
    assert await revisions(client, "a") == [0, 1, 2]
    with pytest.raises(StreamIsDeleted):
        await client.set_stream_metadata("a", metadata={})


async def test_only_the_last_metadata_is_read(client: AsyncEventStoreDBClient) -> None:
    await client.set_stream_metadata("a", metadata={"$maxCount": 5})
    await client.set_stream_metadata("a", metadata={"$maxCount": 6})
    assert await revisions(client, "$$a") == [1]
    assert await revisions(client, "$$a") == [
        event.stream_position for event in await client.get_stream("$$a", backwards=True)
    ]


async def test_the_whole_log_has_events_that_streams_hide(client: AsyncEventStoreDBClient) -> None:
    for name in ("gone", "buried", "short"):
        await append(client, name, 2)
    await client.delete_stream("gone", current_version=1)
    await client.tombstone_stream("buried", current_version=1)
    await client.set_stream_metadata("short", metadata={"$tb": 1})
    assert await all_streams(client) == ["gone"] * 2 + ["buried"] * 2 + ["short"] * 2
    system = ["$epoch-information", "$persistentSubscriptionConfig"]
    everything = await all_streams(client, exclude=())
    assert everything == [*system, *["gone"] * 2, *["buried"] * 2, *["short"] * 2, "$$gone", "buried", "$$short"]


async def test_positions_grow_and_are_not_dense(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 5)
    found = await client.read_all()
    positions = [event.commit_position or 0 async for event in found]
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(positions))
    with pytest.raises(UnknownError):
        [_ async for _ in await client.read_all(commit_position=positions[2] + 1)]
    backwards = [event.commit_position async for event in await client.read_all(backwards=True)]
    assert backwards == positions[::-1]
    before = await client.read_all(commit_position=positions[2], backwards=True)
    assert [event.commit_position async for event in before] == positions[:2][::-1]


@pytest.mark.parametrize("name", ["ä/ö", "with space", "$-dollar", "$", "%2f", "日本", "a" * 500, "x@y", "$$$$meta"])
async def test_a_stream_may_have_a_name_with_odd_characters(client: AsyncEventStoreDBClient, name: str) -> None:
    await append(client, name, 1)
    event = (await client.get_stream(name))[0]
    assert (event.stream_name, event.stream_position) == (name, 0)
    with pytest.raises(WrongCurrentVersion):
        await client.delete_stream(name, current_version=7)
    await client.tombstone_stream(name, current_version=0)
    with pytest.raises(StreamIsDeleted):
        await client.get_stream(name)


async def test_reading_at_the_edges(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 5)

    async def read(position: int | None, limit: int, backwards: bool) -> list[int]:
        found = await client.get_stream("a", stream_position=position, limit=limit, backwards=backwards)
        return [event.stream_position for event in found]

    assert await read(0, 2, backwards=False) == [0, 1]
    assert await read(5, 2, backwards=False) == []
    assert await read(99, 2, backwards=True) == [4, 3]
    assert await read(1, 9, backwards=True) == [1, 0]
    await client.set_stream_metadata("a", metadata={"$tb": 3})
    assert await read(0, 2, backwards=False) == [3, 4]
    assert await read(2, 9, backwards=True) == []


async def test_an_append_holds_one_mebibyte(client: AsyncEventStoreDBClient) -> None:
    fits = (1 << 20) - 2 * len("T")
    await client.append_to_stream("a", current_version=ANY, events=[NewEvent(type="T", data=b"x" * fits)])
    with pytest.raises(MaximumAppendSizeExceededError):
        await client.append_to_stream("a", current_version=ANY, events=[NewEvent(type="T", data=b"x" * (fits + 1))])
    assert await revisions(client, "a") == [0]


async def test_links_are_resolved_on_request(client: AsyncEventStoreDBClient) -> None:
    events = new_events(2)
    await client.append_to_stream("a", current_version=ANY, events=events)
    links = [NewEvent(type="$>", data=data, content_type="application/octet-stream") for data in (b"1@a", b"0@a")]
    await client.append_to_stream("links", current_version=ANY, events=links)
    resolved = await client.get_stream("links", resolve_links=True)
    assert [event.id for event in resolved] == [events[1].id, events[0].id]
    assert [event.link.stream_position for event in resolved if event.link] == [0, 1]
    assert [event.type for event in await client.get_stream("links")] == ["$>", "$>"]


async def test_there_is_no_stream_without_a_name(client: AsyncEventStoreDBClient) -> None:
    with pytest.raises(ExceptionThrownByHandler):
        await client.delete_stream("", current_version=ANY)


async def test_metadata_written_as_an_event_counts(client: AsyncEventStoreDBClient) -> None:
    await append(client, "a", 3)
    metadata = NewEvent(type="anything", data=json.dumps({"$tb": 2}).encode())
    await client.append_to_stream("$$a", current_version=NO_STREAM, events=[metadata])
    assert await revisions(client, "a") == [2]

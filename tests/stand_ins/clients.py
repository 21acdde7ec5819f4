"""esdbclient for the tests of the stand-in: short names, typed."""

import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from esdbclient import AsyncEventStoreDBClient, NewEvent, StreamState
from esdbclient.client import DEFAULT_EXCLUDE_FILTER

ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS
Version = int | StreamState


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[AsyncEventStoreDBClient]:
    client = AsyncEventStoreDBClient(uri)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


def new_events(count: int, *, kind: str = "MoneyDeposited", data: bytes = b'{"amount": 1}') -> list[NewEvent]:
    return [NewEvent(type=kind, data=data, id=uuid.uuid4()) for _ in range(count)]


async def revisions(client: AsyncEventStoreDBClient, stream: str) -> list[int]:
    return [event.stream_position for event in await client.get_stream(stream)]


async def length(client: AsyncEventStoreDBClient, stream: str) -> int:
    return len(await revisions(client, stream))


async def all_streams(client: AsyncEventStoreDBClient, exclude: Iterable[str] = DEFAULT_EXCLUDE_FILTER) -> list[str]:
    found = await client.read_all(filter_exclude=tuple(exclude))
    return [event.stream_name async for event in found]

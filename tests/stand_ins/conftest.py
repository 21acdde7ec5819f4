from collections.abc import AsyncIterator

import pytest
from esdbclient import AsyncEventStoreDBClient

from tests.stand_ins.clients import connected
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as started:
        yield started


@pytest.fixture
async def client(server: EventStoreDB) -> AsyncIterator[AsyncEventStoreDBClient]:
    async with connected(server.uri) as opened:
        yield opened

"""The event store on EventStoreDB: what every event store does, and what is this one's own.

On the stand-in, or on a real server where OPENBANK_TEST_EVENTSTOREDB has its address: each test then has streams of its
own, by a prefix to their names, since its log can't be empty. What can go wrong is in test_eventstoredb_faults.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import EventStore
from tests.eventstore.conformance import EventStoreConformance, OpenStore
from tests.eventstore.upstream_conformance import RemoteUpstreamConformance
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb

SEED = 14
REAL = os.environ.get("OPENBANK_TEST_EVENTSTOREDB", "")


@pytest.fixture(params=["simple", "real"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EventStoreDB | None]:
    """The stand-in, with all that the real server does now and then on or off; or that server itself."""
    if REAL:
        yield None
        return
    async with eventstoredb() as server:
        if request.param == "real":
            server.modes.turn_on(SEED)
            # What the suite asks of a subscription it asks of one that stands.
            server.modes.live_buffer = None
        yield server


@pytest.fixture
async def open_store(server: EventStoreDB | None) -> AsyncIterator[OpenStore]:
    opened: list[EventStoreDBEventStore] = []
    address = server.uri if server else REAL
    prefix = "" if server else f"test{secrets.token_hex(4)}-"

    async def open_store() -> EventStore:
        while opened:
            await opened.pop().close()
        opened.append(await EventStoreDBEventStore.open(address, prefix=prefix))
        return opened[0]

    yield open_store
    while opened:
        await opened.pop().close()


class TestConformance(EventStoreConformance):
    @pytest.fixture
    def open_store(self, open_store: OpenStore) -> OpenStore:
        return open_store


class TestUpstreamConformance(RemoteUpstreamConformance):
    @pytest.fixture
    async def store(self, open_store: OpenStore) -> EventStore:
        return await open_store()

    @pytest.fixture
    def break_upstream(self, server: EventStoreDB | None) -> Callable[[], Awaitable[None]]:
        if server is None:
            pytest.skip("a real server's connection is not broken here")

        async def break_upstream() -> None:
            server.subscriptions.send_behind("dropped")

        return break_upstream

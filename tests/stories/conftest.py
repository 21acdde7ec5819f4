"""The stories run on every back end: callers see the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.back_ends import BackEnd
from tests.stand_ins.process import eventstoredb
from tests.stories.one_account import Clock

SEED = 14
"""The seed of what EventStoreDB does now and then."""


@pytest.fixture(params=["embedded", "mixed", "servers"])
def chosen(request: pytest.FixtureRequest) -> BackEnd:
    """A choice of back ends, but for the address of the event store. Mixed is EventStoreDB with views in SQLite."""
    views = {"views": request.getfixturevalue("database")} if request.param == "servers" else {}
    return BackEnd(event_store="embedded" if request.param == "embedded" else "esdb", **views)


@pytest.fixture
async def back_end(chosen: BackEnd) -> AsyncIterator[BackEnd]:
    if chosen.event_store == "embedded":
        yield chosen
        return
    async with eventstoredb() as server:
        server.modes.turn_on(SEED)
        yield chosen._replace(event_store=server.uri)


@pytest.fixture
def clock() -> Clock:
    return Clock()

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from openbank.eventstore.port import EventStore
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.feeds import pages
from openbank.following import tail
from tests.eventstore.memory import MemoryStore


@pytest.fixture(scope="session", autouse=True)
def short_backoff() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "BACKOFF_SECONDS_MIN", 0.001)
        patch.setattr(pages, "RETRY_SECONDS", 0.001)
        yield


@pytest_asyncio.fixture(params=["memory", "memory with gaps", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventStore]:
    """What a feed does is the same on every store."""
    made: EventStore
    if request.param == "sqlite":
        made = SqliteEventStore(tmp_path)
    else:
        made = MemoryStore(step=10 if request.param == "memory with gaps" else 1)
    yield made
    await made.close()


@pytest.fixture
def memory() -> MemoryStore:
    """A store that can go away."""
    return MemoryStore()

"""The tests' own store keeps the promises that the tests of others rest on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.eventstore.memory import MemoryStore
from tests.eventstore.upstream_conformance import UpstreamConformance


class TestUpstream(UpstreamConformance):
    @pytest.fixture(params=[1, 10], ids=["dense", "sparse"])
    def store(self, request: pytest.FixtureRequest) -> MemoryStore:
        return MemoryStore(step=request.param)

    @pytest.fixture
    def break_upstream(self, store: MemoryStore) -> Callable[[], Awaitable[None]]:
        async def break_upstream() -> None:
            store.go_away()

        return break_upstream

"""validate_only: a call is answered as if it were carried out, and leaves nothing. On every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from openbank import sweeper
from openbank.eventstore.eventstoredb.store import EventStoreDBEventStore
from openbank.eventstore.sqlite import SqliteEventStore
from tests.back_ends import BackEnd
from tests.callers import Refusal, usd
from tests.foresight import check_foreseen, dry
from tests.stories.histories import WEIGHTS, AnyCaller, History
from tests.stories.one_account import Clock, opened

HOUR = 3_600_000_000
STEPS = 400
SEED = 13
_MET = {
    *WEIGHTS, "REPLAYED", "ACCOUNT_NOT_FOUND", "ACCOUNT_NOT_ACTIVE", "ACCOUNT_NUMBER_TAKEN", "HOLD_NOT_OPEN",
    "INSUFFICIENT_FUNDS", "OWNER_NOT_FOUND", "REQUEST_ID_REUSED", "REVISION_MISMATCH", "SPENDING_LIMIT_EXCEEDED",
    "CAPTURE_EXCEEDS_HOLD", "ALREADY_REVERSED", "MOVEMENT_NOT_FOUND", "NOT_REVERSIBLE",
}  # fmt: skip
"""What a history must come to, so that it shows something."""


@pytest.fixture(params=["embedded", "esdb"])
def chosen(request: pytest.FixtureRequest) -> BackEnd:
    """Each event store, with views in SQLite: a dry run does not ask them."""
    return BackEnd(event_store=request.param)


@pytest.fixture
async def bank(appended: list[str], back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[AnyCaller]:
    async with opened(AnyCaller, back_end, tmp_path / "data", clock) as bank:
        yield bank


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams of all appends from now on. The bank itself sweeps no holds meanwhile."""
    monkeypatch.setattr(sweeper, "REST_SECONDS", 600.0)
    streams: list[str] = []
    for store in (SqliteEventStore, EventStoreDBEventStore):

        def append(self: Any, stream: str, *rest: Any, _append: Any = store.append) -> Any:
            streams.append(stream)
            return _append(self, stream, *rest)

        monkeypatch.setattr(store, "append", append)
    return streams


async def test_a_dry_run_says_what_the_call_then_does(bank: AnyCaller, clock: Clock, appended: list[str]) -> None:
    await bank.register(person_id="p1")
    await bank.open("p1", account_id="a-2", account_number="N3", initial_deposit=usd("500"))
    history, met = History(SEED), set()
    for step in range(STEPS):
        rpc, request = history.next()
        del appended[:]
        foreseen = await bank.outcome(rpc, dry(request))
        assert appended == [], f"step {step}: a dry run of {rpc} was recorded in {appended}"
        came = await bank.outcome(rpc, request)
        check_foreseen(request, foreseen, came)
        if isinstance(came, Refusal):
            met.add(came.reason)
        else:
            met.add("REPLAYED" if came.replayed else rpc)
            history.take(came)
        if step % 10 == 9:
            clock.now += HOUR
    assert met >= _MET

"""Streams are set aside and released at random, while one projector follows the log and another rebuilds the views."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import BEGINNING, LogPosition, LogSlice
from openbank.following.tail import LogTail
from openbank.integrity.quarantine import Quarantine
from openbank.views import projector as projecting
from openbank.views import rebuilder as rebuilding
from openbank.views.changes import Change
from openbank.views.rebuilder import Rebuilder
from openbank.views.sqlite import SqliteViews
from openbank.views.sqlite import rebuilds as rebuilding_in_sqlite
from openbank.views.sqlite.rebuilds import SqliteRebuilds
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, History, assert_holds, new_projector
from tests.views.test_projector import RecordingLog, deposit_behind_others, poison, some_life

PATIENCE_SECONDS = 30.0
ACCOUNTS = "123"


async def some_turns(choices: random.Random) -> None:
    """Lets others work for a random while."""
    for _ in range(choices.randint(0, 4)):
        await asyncio.sleep(0)


class SlowLog(RecordingLog):
    """Takes its time, and is away now and then."""

    def __init__(self, tail: LogTail, choices: random.Random) -> None:
        super().__init__(tail)
        self._choices = choices

    async def read(self, after: LogPosition, limit: int = 1000) -> LogSlice:
        await some_turns(self._choices)
        if self._choices.random() < 0.03:
            raise StoreUnavailable("away")
        read = await super().read(after, limit)
        await some_turns(self._choices)
        return read


def slow_views(choices: random.Random) -> type[SqliteViews]:
    class SlowViews(SqliteViews):
        async def project(
            self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING
        ) -> None:
            await some_turns(choices)
            if choices.random() < 0.3:
                await asyncio.sleep(0.001)
            await super().project(changes, through, after)

    return SlowViews


@pytest.mark.parametrize("seed", range(8))
async def test_the_views_hold_all_that_is_believed_in_the_end(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = random.Random(seed)
    for name, value in {
        "POLL_SECONDS": 0.001,
        "RETRY_SECONDS_MIN": 0.0005,
        "RETRY_SECONDS_MAX": 0.001,
        "READ_EVENTS_MAX": choices.choice([1, 2, 5, 500]),
        "SLICE_EVENTS": choices.choice([1, 3, 100]),
    }.items():
        monkeypatch.setattr(projecting, name, value)
    monkeypatch.setattr(rebuilding, "LOOK_SECONDS", 0.002)
    monkeypatch.setattr(rebuilding, "BATCH_EVENTS_MAX", choices.choice([1, 3, 20]))
    views_kind = slow_views(choices)
    monkeypatch.setattr(rebuilding_in_sqlite, "SqliteViews", views_kind)

    store = MemoryStore(step=choices.choice([1, 10]))
    history = History(store)
    await some_life(history)
    views = views_kind(tmp_path, rests=False)
    await views.clear(LOG)
    quarantine = Quarantine(store, lambda: 0)
    tail, give_way = LogTail(store), partial(some_turns, choices)
    live = new_projector(store, SlowLog(tail, choices), views, choices.choice([1, 3, 7, 30]), quarantine)
    rebuilds = SqliteRebuilds(tmp_path, views)
    rebuilder = Rebuilder(rebuilds, views, store, SlowLog(tail, choices), quarantine, _alone, give_way, lambda: 0)
    running = [asyncio.create_task(one) for one in (tail.run(), live.run(), rebuilder.run())]

    await _something_happens(choices, history, quarantine, rebuilder)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await _settled(history, views, quarantine, rebuilds)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert live.failure is None
    await assert_holds(views, history)
    await rebuilds.close()
    await views.close()


async def _something_happens(
    choices: random.Random, history: History, quarantine: Quarantine, rebuilder: Rebuilder
) -> None:
    for _ in range(choices.randint(50, 150)):
        what = choices.random()
        if what < 0.6:
            await deposit_behind_others(history, choices.choice(ACCOUNTS))
        elif what < 0.7:
            for account_id in ACCOUNTS:
                await poison(history, account_id)
        elif what < 0.85:
            await _skip_all(quarantine)
        elif what < 0.95:
            await rebuilder.start()
        await asyncio.sleep(choices.choice([0, 0, 0.001, 0.003, 0.01]))


async def _skip_all(quarantine: Quarantine) -> None:
    for stream, aside in list(quarantine.aside.items()):
        if not aside.retrying:
            await quarantine.skip(stream, None)


async def _settled(history: History, views: SqliteViews, quarantine: Quarantine, rebuilds: SqliteRebuilds) -> None:
    """Until everything is released, projected, and for some time has stayed so."""
    quiet = 0
    while quiet < 10:
        await _skip_all(quarantine)
        head = await history.store.head()
        is_rebuilding = rebuilds.record is not None and rebuilds.record.running
        busy = quarantine.aside or is_rebuilding or views.place.position < head.position
        quiet = 0 if busy else quiet + 1
        await asyncio.sleep(0.002)


def _alone(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    return work

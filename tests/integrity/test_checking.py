"""Followers of the log that begin after unchecked events."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import pytest

from openbank.codec.events import encode
from openbank.domain.account_events import AccountEvent, AccountOpened, Funds, MoneyDeposited
from openbank.eventstore.port import BEGINNING, LogPosition, Metadata, NewEvent, RecordedEvent, Snapshot
from openbank.following.tail import LogTail
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from openbank.integrity.trail import START, Trail, follow, followed
from tests.eventstore.memory import MemoryStore
from tests.examples import usd

STREAM = "account-1"
OPENED = AccountOpened("1", "john", "123", usd(1000))
FORGED = MoneyDeposited(usd(500), "", usd(900_000))
FOLLOWS_THE_FORGED = MoneyDeposited(usd(100), "", usd(900_100))
SOUND = MoneyDeposited(usd(500), "", usd(1500))
FOLLOWS_THE_SOUND = MoneyDeposited(usd(100), "", usd(1600))


class SharedStore(MemoryStore):
    """One that other programs can write to."""

    sole_writer = False


async def append(store: MemoryStore, after: int, *events: AccountEvent) -> int:
    """One after the other, each in an append of its own; the position of the last."""
    position = 0
    for revision, event in enumerate(events, after):
        new = NewEvent(os.urandom(16), *encode(event), Metadata(1_700_000_000_000_000, owner_id="john"))
        position = await store.append(STREAM, revision, [new])
    return position


async def append_own(store: MemoryStore, trail: Trail, *events: AccountEvent) -> Trail:
    """The same, as commands do that are decided on this trail and the ones after it; the last of these."""
    metadata = Metadata(1_700_000_000_000_000, owner_id="john")
    for event in events:
        type_name, data = followed(trail, STREAM, event, metadata)
        await store.append(STREAM, trail.revision, [NewEvent(os.urandom(16), type_name, data, metadata)])
        trail = data.after
    return trail


async def believed(store: MemoryStore, quarantine: Quarantine, later: AccountEvent) -> list[int]:
    """The revisions that are believed of what is appended once the log is followed."""
    tail = LogTail(store, quarantine=quarantine)
    running = asyncio.create_task(tail.run())
    async with asyncio.timeout(5):
        while not tail.available:
            await tail.changed()
        start = tail.head
        last = await append(store, start.revision, later)
        await tail.wait(last - 1)
        page = await tail.reader().read(start)
    running.cancel()
    return [event.revision for event in page.events]


@pytest.mark.parametrize("checked", [BEGINNING, LogPosition(1)], ids=["nothing", "what came before"])
async def test_an_event_is_not_believed_because_it_follows_an_unchecked_one(checked: LogPosition) -> None:
    store = SharedStore()
    await append(store, 0, OPENED, FORGED)
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.load(checked.position)
    assert await believed(store, quarantine, FOLLOWS_THE_FORGED) == []
    assert quarantine.aside[STREAM].revision == 2


async def test_an_event_after_ones_that_follow_is_believed() -> None:
    store = SharedStore()
    await append(store, 0, OPENED, SOUND)
    quarantine = Quarantine(store, lambda: 0)
    assert await believed(store, quarantine, FOLLOWS_THE_SOUND) == [3]
    assert not quarantine.aside


async def test_a_skipped_event_does_not_count() -> None:
    store = SharedStore()
    await append(store, 0, OPENED, FORGED)
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.set_aside(LogPosition(2, STREAM, 2), "it does not follow")
    await quarantine.skip(STREAM, 2)
    await quarantine.release(STREAM, 2)
    await append(store, 2, SOUND)
    assert await believed(store, quarantine, FOLLOWS_THE_SOUND) == [4]


@pytest.mark.parametrize("position", [2, 3], ids=["in the log", "in a watch from before"])
async def test_unchecked_history_is_checked_as_strictly(position: int) -> None:
    store = SharedStore()
    await append(store, 0, OPENED, FORGED, FOLLOWS_THE_FORGED, MoneyDeposited(usd(1), "", usd(900_101)))
    quarantine = Quarantine(store, lambda: 0)
    tail = LogTail(store, quarantine=quarantine)
    page = await tail.reader().read(LogPosition(position, STREAM, position))
    assert page.events == []
    assert quarantine.aside[STREAM].revision == 2


async def test_a_long_stream_is_followed_from_its_last_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SharedStore()
    await append(store, 0, OPENED, *[MoneyDeposited(usd(1), "", usd(1000 + number)) for number in range(1, 100)])
    at = store.events[89]
    store.keep_snapshot(STREAM, Snapshot(at.revision, at.id, b""))
    read: list[int] = []
    reading = store.read_stream

    async def counted(stream: str, after: int = 0, limit: int = 1000) -> Sequence[RecordedEvent]:
        events = await reading(stream, after, limit)
        read.extend(event.revision for event in events)
        return events

    monkeypatch.setattr(store, "read_stream", counted)
    quarantine = Quarantine(store, lambda: 0)
    assert await believed(store, quarantine, MoneyDeposited(usd(1), "", usd(1100))) == [101]
    assert min(read) >= at.revision


async def test_a_snapshot_of_another_history_is_not_believed() -> None:
    store = SharedStore()
    await append(store, 0, OPENED, FORGED)
    store.keep_snapshot(STREAM, Snapshot(2, bytes(16), b""))
    quarantine = Quarantine(store, lambda: 0)
    assert await believed(store, quarantine, FOLLOWS_THE_FORGED) == []


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The revisions of the events to which the whole check is applied."""
    revisions: list[int] = []

    def noted(trail: Trail, event: RecordedEvent) -> object:
        revisions.append(event.revision)
        return follow(trail, event)

    monkeypatch.setattr("openbank.integrity.checking.follow", noted)
    return revisions


class TestOwnEvents:
    """What this process has checked before it appended it."""

    async def test_are_not_checked_a_second_time(self, checks: list[int]) -> None:
        store = MemoryStore()
        await append_own(store, START, OPENED, SOUND, FOLLOWS_THE_SOUND)
        checked = await Checker(store, Quarantine(store, lambda: 0), thorough=True).check(store.events)
        assert [one.happened for one in checked] == [OPENED, SOUND, FOLLOWS_THE_SOUND]
        assert checks == []

    async def test_are_compared_with_what_the_store_has_before_them(self, checks: list[int]) -> None:
        store = MemoryStore()
        await append_own(store, START, OPENED, SOUND, FOLLOWS_THE_SOUND)
        checker = Checker(store, Quarantine(store, lambda: 0), thorough=True)
        assert [one.happened for one in await checker.check(store.events[1:])] == [SOUND, FOLLOWS_THE_SOUND]
        assert checks == []

    async def test_do_not_spare_the_check_of_one_between_them_by_another_instance(self, checks: list[int]) -> None:
        store = MemoryStore()
        before = await append_own(store, START, OPENED)
        await append(store, 1, SOUND)
        quarantine = Quarantine(store, lambda: 0)
        checker = Checker(store, quarantine, thorough=True)
        own = await append_own(store, before._replace(revision=2, funds=Funds(usd(1500), usd(1500))), FOLLOWS_THE_SOUND)
        await append(store, 3, FORGED)
        await append_own(store, own._replace(revision=4), MoneyDeposited(usd(1), "", usd(1601)))
        checked = await checker.check(store.events)
        assert [one.happened for one in checked] == [OPENED, SOUND, FOLLOWS_THE_SOUND, None, None]
        assert (quarantine.aside[STREAM].revision, checks) == (4, [2, 4])

    async def test_are_not_believed_after_anything_else_than_they_were_decided_on(self) -> None:
        store = MemoryStore()
        before = await append_own(store, START, OPENED)
        await append(store, 1, MoneyDeposited(usd(1), "", usd(1001)))
        await append_own(store, before._replace(revision=2, funds=Funds(usd(1500), usd(1500))), FOLLOWS_THE_SOUND)
        quarantine = Quarantine(store, lambda: 0)
        await Checker(store, quarantine, thorough=True).check(store.events)
        assert quarantine.aside[STREAM].revision == 3

    async def test_are_not_believed_once_another_instance_has_set_an_earlier_one_aside(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = MemoryStore()
        before = await append_own(store, START, OPENED)
        await append(store, 1, SOUND)
        await append_own(store, before._replace(revision=2, funds=Funds(usd(1500), usd(1500))), FOLLOWS_THE_SOUND)
        quarantine = Quarantine(store, lambda: 0)
        checker = Checker(store, quarantine, thorough=True)
        await checker.check(store.events[:2])
        read_stream = store.read_stream

        async def meanwhile(*range: Any) -> Sequence[RecordedEvent]:
            await quarantine.set_aside(LogPosition(2, STREAM, 2), "another instance found that it does not follow")
            return await read_stream(*range)

        monkeypatch.setattr(store, "read_stream", meanwhile)
        checked = await checker.check(store.events[1:])
        assert [one.happened for one in checked] == [None, None]

    async def test_count_for_nothing_in_another_stream(self, checks: list[int]) -> None:
        store = MemoryStore()
        await append_own(store, START, OPENED)
        copied = store.events[0]._replace(stream="account-2")
        await Checker(store, Quarantine(store, lambda: 0), thorough=True).check([copied])
        assert checks == [1]

    async def test_may_be_skipped_by_an_operator(self) -> None:
        store = MemoryStore()
        await append_own(store, START, OPENED, SOUND)
        quarantine = Quarantine(store, lambda: 0)
        await quarantine.set_aside(LogPosition(2, STREAM, 2), "it was not meant")
        checker = Checker(store, quarantine, thorough=True)
        assert [one.happened for one in await checker.check(store.events)] == [OPENED, None]
        await quarantine.skip(STREAM, 2)
        await quarantine.release(STREAM, 2)
        checked = await Checker(store, quarantine, thorough=True).check(store.events)
        assert [(one.happened, one.skipped) for one in checked] == [(OPENED, False), (None, True)]

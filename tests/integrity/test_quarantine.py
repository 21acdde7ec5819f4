"""The record of what is quarantined, as one process changes and follows it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import KeptRecord, LogPosition
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.integrity import quarantine as module
from openbank.integrity.quarantine import Quarantine
from tests.eventstore.memory import MemoryStore


class DistantStore(MemoryStore):
    """Saves after a moment, in which others try too."""

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        await asyncio.sleep(0)
        return await super().save_quarantine(data, version)


async def test_any_number_of_aggregates_are_set_aside_at_once() -> None:
    store = DistantStore()
    quarantine = Quarantine(store, lambda: 0)
    places = [LogPosition(number, f"account-{number}", 1) for number in range(1, 101)]
    await asyncio.gather(*(quarantine.set_aside(place, "it does not follow") for place in places))
    other = Quarantine(store, lambda: 0)
    await other.load()
    assert other.aside == quarantine.aside
    assert set(other.aside) == {place.stream for place in places}


async def test_a_release_makes_earlier_reads_stale() -> None:
    quarantine = Quarantine(MemoryStore(), lambda: 0)
    await quarantine.set_aside(LogPosition(2, "account-1", 2), "it does not follow")
    assert quarantine.releases == 0
    await quarantine.retry("account-1")
    assert quarantine.releases == 0
    await quarantine.set_aside(LogPosition(5, "account-1", 5), "it does not follow")
    assert quarantine.releases == 1
    await quarantine.release("account-1", 9)
    assert quarantine.releases == 2


async def test_an_unreadable_record_is_replaced_by_the_last_readable_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    store = MemoryStore()
    quarantine = Quarantine(store, lambda: 0)
    await quarantine.set_aside(LogPosition(2, "account-1", 2), "it does not follow")
    await store.save_quarantine(b"garbage", 1)
    with caplog.at_level(logging.ERROR, module.__name__):
        following = asyncio.create_task(quarantine.follow(lambda: 0))
        await asyncio.sleep(0.05)
        assert not following.done()
        following.cancel()
    assert [record.message for record in caplog.records].count("quarantine record is damaged, and is replaced") == 1
    await quarantine.set_aside(LogPosition(3, "account-2", 1), "it does not follow")
    another = Quarantine(store, lambda: 0)
    await another.load()
    assert set(another.aside) == {"account-1", "account-2"}


ASIDE = b'{"revision": %s, "position": 1, "reason": "", "time": %s, "retrying": false}'
HELD = b'{"aside": {"account-1": ' + ASIDE + b'}, "skipped": {}}'


@pytest.mark.parametrize(
    "record",
    [b"garbage", b"[" * 100_000, b"null", HELD % (b"1e999", b"1"), HELD % (b"0", b"1"), HELD % (b"1", b"1e300")],
)
async def test_a_start_with_an_unreadable_record_is_refused(record: bytes) -> None:
    store = MemoryStore()
    await store.save_quarantine(record, 0)
    with pytest.raises(StoreDamaged, match="cannot be read"):
        await Quarantine(store, lambda: 0).load()


async def test_a_record_that_is_not_what_was_written_is_named(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path)
    assert await store.quarantine() == KeptRecord()
    await store.save_quarantine(b"{}", 0)
    store._connection.execute("UPDATE quarantine SET checksum = checksum + 1")
    with pytest.raises(StoreDamaged, match="openbank restore"):
        await store.quarantine()
    await store.close()

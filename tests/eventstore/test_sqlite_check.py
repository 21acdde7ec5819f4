"""A start reports a loss that SQLite does not notice, and what can be done about it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.port import NO_STREAM
from openbank.eventstore.sqlite import FILE, SqliteEventStore, accept_loss, backup, check, mark
from openbank.views.matching import match_log
from openbank.views.sqlite import SqliteViews
from tests.eventstore.conformance import some_events, whole_log

WAL = f"{FILE}-wal"


@pytest.fixture
async def stopped(tmp_path: Path) -> Path:
    """The directory of a log of ten events that was closed."""
    store = SqliteEventStore(tmp_path)
    for revision in range(10):
        await store.append("account-1", revision, some_events())
    await store.close()
    return tmp_path


@pytest.fixture
async def killed(stopped: Path) -> AsyncIterator[Path]:
    """A log of ten events at its last stop, and of five more in its WAL."""
    store = SqliteEventStore(stopped)
    for revision in range(10, 15):
        await store.append("account-1", revision, some_events())
    killed = stopped / "killed"
    killed.mkdir()
    for name in (FILE, WAL, mark.MARK):
        shutil.copy(stopped / name, killed)
    yield killed
    await store.close()


def alter(directory: Path, statement: str) -> None:
    with closing(sqlite3.connect(directory / FILE)) as connection, connection:
        connection.execute(statement)


async def test_a_log_that_was_stopped_or_killed_starts(stopped: Path, killed: Path) -> None:
    for directory, events in ((killed, 15), (killed, 15)):
        store = SqliteEventStore(directory)
        assert len(await whole_log(store)) == events
        await store.close()


@pytest.mark.parametrize("events", [0, 9])
async def test_a_log_that_ends_before_its_last_stop_is_refused(stopped: Path, events: int) -> None:
    alter(stopped, f"DELETE FROM events WHERE position > {events}")
    with pytest.raises(StoreRefused, match=rf"ends at position {events}, and had come to 10 .* accept-loss"):
        SqliteEventStore(stopped)


async def test_an_older_copy_in_its_place_is_refused(stopped: Path) -> None:
    older = (stopped / FILE).read_bytes()
    store = SqliteEventStore(stopped)
    await store.append("account-1", 10, some_events())
    await store.close()
    (stopped / FILE).write_bytes(older)
    with pytest.raises(StoreRefused, match="ends at position 10, and had come to 11"):
        SqliteEventStore(stopped)


async def test_another_event_at_the_last_stop_is_refused(stopped: Path) -> None:
    other = stopped / "other"
    other.mkdir()
    stop = mark.read_mark(stopped)
    assert stop is not None
    store = SqliteEventStore(other)
    await store.append("account-1", NO_STREAM, some_events(12))
    await store.close()
    alter(other, f"UPDATE meta SET value = '{stop.store_id}' WHERE name = 'store_id'")
    shutil.copy(stopped / mark.MARK, other)
    with pytest.raises(StoreRefused, match="position 10 is not that of the last stop"):
        SqliteEventStore(other)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = x'00' WHERE position = 12",
        "UPDATE events SET checksum = 0 WHERE position = 15",
        "DELETE FROM events WHERE position = 12",
        "DELETE FROM events WHERE position = 10",
    ],
)
async def test_damage_since_the_last_stop_is_refused(killed: Path, damage: str) -> None:
    alter(killed, damage)
    with pytest.raises(StoreRefused, match=r"is damaged: .*; restore a backup: openbank restore --data"):
        SqliteEventStore(killed)


async def test_only_the_end_of_a_long_tail_is_checked(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "TAIL_EVENTS_MAX", 3)
    alter(killed, "UPDATE events SET data = x'00' WHERE position = 12")
    await SqliteEventStore(killed).close()


async def test_without_a_mark_that_can_be_read_there_is_nothing_to_hold_it_against(stopped: Path) -> None:
    (stopped / mark.MARK).write_text("10\n")
    alter(stopped, "DELETE FROM events WHERE position = 10")
    await SqliteEventStore(stopped).close()
    stop = mark.read_mark(stopped)
    assert stop is not None
    assert stop.position == 9


async def test_the_views_reveal_that_a_wal_was_removed(killed: Path) -> None:
    views = await views_of(killed)
    (killed / WAL).unlink()
    store = SqliteEventStore(killed)
    with pytest.raises(StoreRefused, match=r"ends at position 10, and the views have seen it come to 15.*accept-loss"):
        await match_log(views, store)
    await store.close()
    await views.close()


async def views_of(directory: Path) -> SqliteViews:
    """Views that have seen all of a log that was not stopped, which is left as it is."""
    copy = directory / "copy"
    copy.mkdir()
    for name in (FILE, WAL):
        shutil.copy(directory / name, copy)
    store, views = SqliteEventStore(copy), SqliteViews(directory)
    await match_log(views, store)
    await views.project((), await store.head())
    await store.close()
    return views


async def test_accepting_a_loss_makes_a_new_log(killed: Path) -> None:
    views = await views_of(killed)
    (killed / WAL).unlink()
    assert accept_loss(killed) == 10
    store = SqliteEventStore(killed)
    await match_log(views, store)
    assert views.place.position == 0
    assert len(await whole_log(store)) == 10
    await store.append("account-1", 10, some_events())
    await store.close()
    await views.close()
    store = SqliteEventStore(killed)
    assert len(await whole_log(store)) == 11
    await store.close()


async def test_a_loss_of_events_from_before_the_last_stop_can_be_accepted_too(stopped: Path) -> None:
    alter(stopped, "DELETE FROM events WHERE position > 7")
    accept_loss(stopped)
    store = SqliteEventStore(stopped)
    assert len(await whole_log(store)) == 7
    await store.close()


async def test_a_backup_is_restored_although_the_views_and_the_mark_are_ahead(stopped: Path, tmp_path: Path) -> None:
    backup(stopped, tmp_path / "backup.db")
    store = SqliteEventStore(stopped)
    bank_id, store_id = store.bank_id, store.store_id
    await store.append("account-1", 10, some_events(5))
    views = SqliteViews(stopped)
    await match_log(views, store)
    await views.project((), await store.head())
    await store.close()

    (tmp_path / "backup.db").replace(stopped / FILE)
    restored = SqliteEventStore(stopped)
    await match_log(views, restored)
    assert views.place.position == 0
    assert restored.bank_id == bank_id
    assert restored.store_id != store_id
    assert len(await whole_log(restored)) == 10
    await restored.close()
    await views.close()

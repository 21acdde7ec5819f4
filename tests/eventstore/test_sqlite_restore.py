"""A restore puts a whole backup in the place of the log, or changes nothing; what was there is kept."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from openbank.datadir import DataDirectory, DataDirectoryInUse
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.port import LogPosition
from openbank.eventstore.sqlite import FILE, LogFile, SqliteEventStore, backup
from openbank.sinks.port import SinkRecord
from openbank.sinks.sqlite import SqliteSinkRecords
from openbank.upkeep.restore import restore
from openbank.views.matching import match_log
from openbank.views.sqlite import SqliteViews
from tests.eventstore.conformance import some_events
from tests.eventstore.files import PAGE, WAL, contents, events_in, put_back, states_of, write


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A bank that was killed with fifteen events, five of them in its WAL, after a backup with ten was made of it."""
    await write(tmp_path / "data", 10, clean=True)
    (tmp_path / "backups").mkdir()
    backup(tmp_path / "data", tmp_path / "backups" / "backup.db")
    await write(tmp_path / "data", 5, clean=False)
    return tmp_path / "data"


@pytest.fixture
def file(data: Path, tmp_path: Path) -> Path:
    return tmp_path / "backups" / "backup.db"


def alter(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def kept_in(directory: Path) -> list[Path]:
    return sorted(directory.glob("before-restore-*"))


async def test_a_crashed_log_is_replaced_and_kept(data: Path, file: Path) -> None:
    source = contents(file.parent)
    (at_bank, position, _), kept = restore(data, file)
    assert position == 10
    assert kept is not None
    assert kept.parent == data
    assert await events_in(data) == 10
    with closing(LogFile(data)) as log:
        assert log.bank_id == at_bank
    # To go back, or to look: it is a data directory.
    assert await events_in(kept) == 15
    assert contents(file.parent) == source


async def test_a_log_that_was_ruined_or_lost_is_replaced(data: Path, file: Path) -> None:
    whole = contents(data)
    for ruined in (
        {**whole, FILE: whole[FILE][: 2 * PAGE]},
        {**whole, FILE: b""},
        {**whole, FILE: contents(file.parent)[file.name]},
        {name: content for name, content in whole.items() if name != FILE},
        {WAL: whole[WAL]},
    ):
        put_back(data, ruined)
        _, kept = restore(data, file)
        assert kept is not None
        assert await events_in(data) == 10
        before = {name: content for name, content in ruined.items() if name != "lock"}
        assert {name: (kept / name).read_bytes() for name in before} == before


async def test_a_restored_bank_continues_from_the_backup(data: Path, file: Path) -> None:
    restore(data, file)
    await write(data, 2, clean=False)
    assert await events_in(data) == 12


async def test_a_new_directory_is_made(data: Path, file: Path, tmp_path: Path) -> None:
    _, kept = restore(tmp_path / "a" / "new", file)
    assert kept is None
    assert await events_in(tmp_path / "a" / "new") == 10


async def test_each_restore_of_a_backup_is_a_log_of_its_own(data: Path, file: Path) -> None:
    stores = set()
    for _ in range(2):
        restore(data, file)
        with closing(LogFile(data)) as log:
            stores.add(log.store_id)
        await write(data, 1, clean=True)
    assert len(stores) == 2
    assert len(kept_in(data)) == 2


async def test_the_log_of_a_bank_that_was_stopped_is_a_backup_too(data: Path, tmp_path: Path) -> None:
    await write(tmp_path / "other", 3, clean=True)
    restore(data, tmp_path / "other" / FILE)
    assert await events_in(data) == 3


async def test_views_and_mark_of_the_log_before_go_with_it(data: Path, file: Path) -> None:
    store, views = SqliteEventStore(data), SqliteViews(data)
    await match_log(views, store)
    await views.project((), await store.head())
    await views.close()
    await store.close()
    _, kept = restore(data, file)
    assert kept is not None
    assert {"views.db", "clean-stop"} <= set(os.listdir(kept))
    assert not {"views.db", "clean-stop"} & set(os.listdir(data))
    store, views = SqliteEventStore(data), SqliteViews(data)
    await match_log(views, store)
    assert views.place.position == 0
    await views.close()
    await store.close()


async def test_the_places_of_sinks_stay_unless_they_are_another_banks(data: Path, file: Path, tmp_path: Path) -> None:
    with closing(LogFile(data)) as log:
        bank, store = log.bank_id, log.store_id
    records = SqliteSinkRecords(data)
    await records.save("crm", SinkRecord(bank, store, LogPosition(12, "account-1", 11), 1), 0)
    await records.close()
    _, kept = restore(data, file)
    assert kept is not None
    for directory in (data, kept):
        records = SqliteSinkRecords(directory)
        stored = await records.load("crm")
        assert stored is not None
        assert stored.record.place.position == 12
        await records.close()

    await write(tmp_path / "other", 3, clean=True)
    backup(tmp_path / "other", tmp_path / "other.db")
    _, kept = restore(data, tmp_path / "other.db")
    assert kept is not None
    assert (kept / "sinks.db").exists()
    assert not (data / "sinks.db").exists()


# A kill


async def test_a_kill_at_any_moment_leaves_the_log_before_or_the_backup(data: Path, file: Path, tmp_path: Path) -> None:
    with states_of(data, tmp_path) as states:
        restore(data, file)
    found = []
    for state in states:
        again = Path(shutil.copytree(state, tmp_path / "again"))
        found.append(await events_in(state))
        assert not [name for name in os.listdir(state) if name.startswith("events.db-rest")]
        if found[-1] == 10:
            [kept] = kept_in(state)
            assert await events_in(kept) == 15
        # Nor does it stand in the way of the next restore.
        restore(again, file)
        assert await events_in(again) == 10
        assert 15 in [await events_in(kept) for kept in kept_in(again)]
        shutil.rmtree(again)
    assert found == sorted(found, reverse=True)
    assert set(found) == {15, 10}


async def test_a_reader_says_that_a_restore_has_not_finished(data: Path, file: Path, tmp_path: Path) -> None:
    with states_of(data, tmp_path) as states:
        restore(data, file)
    pending = [state for state in states if (state / f"{FILE}-restore.json").exists()]
    assert pending
    for state in pending:
        with pytest.raises(StoreRefused, match="has not finished: start the bank, or run openbank restore again"):
            LogFile(state)


async def test_a_backup_beside_the_log_is_left_alone(data: Path, file: Path) -> None:
    """Under whatever name."""
    whole = contents(file.parent)[file.name]
    for name in ("events.db.restored", "events.db.restore", "events.db.backup", "backup.db"):
        shutil.copy(file, data / name)
        restore(data, data / name)
        assert await events_in(data) == 10
        assert contents(data)[name] == whole


# What is no backup


def cut(size: int) -> Callable[[Path], object]:
    return lambda file: os.truncate(file, size)


def replaced_by(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def replace(file: Path) -> None:
        file.unlink()
        make(file)

    return replace


def flip(file: Path) -> None:
    """A byte in the middle of an event."""
    content = file.read_bytes()
    at = content.rindex(b"openbank.") if b"x-correlation" not in content else content.rindex(b"x-correlation")
    file.write_bytes(content[:at] + b"#" + content[at + 1 :])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (os.unlink, "backup.db is not there"),
        (replaced_by(Path.mkdir), "is a directory"),
        (replaced_by(os.mkfifo), "not a regular file"),
        (replaced_by(lambda file: file.symlink_to("backup.db")), "can't be read"),
        (replaced_by(lambda file: file.symlink_to("nowhere")), "link to a file that is not there"),
        (replaced_by(lambda file: file.symlink_to("../data/events.db")), "is the log itself: move it out of"),
        (replaced_by(lambda file: file.hardlink_to(file.parents[1] / "data" / FILE)), "is the log itself"),
        (cut(0), "is empty"),
        (cut(50), "is not a database"),
        (cut(PAGE), "is damaged: it has 4,096 bytes"),
        (cut(5 * PAGE), "is damaged: it has"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "is damaged: it has"),
        (lambda file: file.write_bytes(file.read_bytes() + bytes(PAGE)), "is damaged: it has"),
        (lambda file: file.write_text("Dear John"), "is not a database"),
        (flip, "is damaged"),
        (lambda file: alter(file, "UPDATE events SET data = x'00' WHERE position = 5"), "position 5 is not what was"),
        (lambda file: alter(file, "DELETE FROM events WHERE position = 5"), "position 6 follows 4"),
        (lambda file: alter(file, "PRAGMA user_version = 99"), "has format 99, written by a newer version"),
        (lambda file: alter(file, "PRAGMA application_id = 7"), "another program"),
        (lambda file: alter(file, "INSERT INTO meta VALUES ('unfinished', 'yes')"), "a copy into it has not finished"),
        (lambda file: shutil.copy(file.parents[1] / "data" / WAL, f"{file}-wal"), "is not a backup: it has a WAL"),
        (lambda file: Path(f"{file}-journal").write_bytes(b"journal"), "is not a backup: it has a WAL or a journal"),
    ],
)
async def test_a_file_that_is_not_a_backup_is_refused_and_nothing_changes(
    data: Path, file: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(file)
    before = contents(data)
    with pytest.raises((StoreRefused, OSError), match=why):
        restore(data, file)
    assert {**contents(data), "lock": b""} == {**before, "lock": b""}
    assert await events_in(data) == 15


async def test_a_directory_in_use_is_refused(data: Path, file: Path, tmp_path: Path) -> None:
    serving = DataDirectory(data, "serves")
    with pytest.raises(DataDirectoryInUse, match="serves"):
        restore(data, file)
    serving.close()
    # Also one that is served from elsewhere, by a link.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / FILE).symlink_to(data / FILE)
    store = SqliteEventStore(tmp_path / "elsewhere")
    with pytest.raises(StoreRefused, match="in use"):
        restore(data, file)
    await store.close()
    with pytest.raises(StoreRefused, match=r"is a link to .*: remove the link first"):
        restore(tmp_path / "elsewhere", file)


async def test_the_log_of_a_served_bank_is_not_a_backup(data: Path, tmp_path: Path) -> None:
    await write(tmp_path / "served", 3, clean=True)
    store = SqliteEventStore(tmp_path / "served")
    with pytest.raises(StoreRefused, match="of a bank that is being served"):
        restore(data, tmp_path / "served" / FILE)
    await store.append("account-1", 3, some_events())
    await store.close()


@pytest.mark.parametrize("step", ["copyfileobj", "rename"])
async def test_a_disk_without_room_leaves_the_log_that_was_there(
    data: Path, file: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj" if step == "copyfileobj" else "os.rename", fail)
    with pytest.raises(OSError, match="No space left"):
        restore(data, file)
    monkeypatch.undo()
    assert await events_in(data) == (15 if step == "copyfileobj" else 10)


async def test_a_restore_that_fails_leaves_nothing_in_a_new_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        restore(tmp_path / "a" / "new", tmp_path / "nothing")
    assert os.listdir(tmp_path) == []

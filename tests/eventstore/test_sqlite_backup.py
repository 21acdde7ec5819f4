"""A backup is complete, checked and durable, or it is not there."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.port import BEGINNING, NO_STREAM
from openbank.eventstore.sqlite import FILE, SqliteEventStore, backup
from tests.eventstore.conformance import some_events, whole_log

MODULE = import_module("openbank.eventstore.sqlite.backup")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    (tmp_path / "data").mkdir()
    store = SqliteEventStore(tmp_path / "data")
    await store.append("account-1", NO_STREAM, some_events())
    yield store
    await store.close()


@pytest.fixture
def data(store: SqliteEventStore, tmp_path: Path) -> Path:
    return tmp_path / "data"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_backup_made_while_writing_is_a_log_of_its_own(
    store: SqliteEventStore, data: Path, tmp_path: Path
) -> None:
    async def write(account: int) -> None:
        revision = 0
        while not copied.is_set():
            await store.append(f"account-of-{account}", revision, some_events(2))
            revision += 2

    copied = asyncio.Event()
    writers = [asyncio.create_task(write(account)) for account in range(4)]
    async for page in store.subscribe(BEGINNING):
        if page.through.position > 50:
            break
    acknowledged = await whole_log(store)
    contents = await asyncio.to_thread(backup, data, tmp_path / "copy")
    copied.set()
    await asyncio.gather(*writers)

    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / "copy").rename(restored / FILE)
    again = SqliteEventStore(restored)
    log = await whole_log(again)
    assert log[: len(acknowledged)] == acknowledged
    assert log == (await whole_log(store))[: len(log)]
    assert again.bank_id == store.bank_id
    assert again.token_key == store.token_key
    assert contents == (store.bank_id, log[-1].position, log[-1].metadata.record_time)
    stream = await again.read_stream("account-of-0")
    await again.append("account-of-0", len(stream), some_events())
    await again.close()


async def test_a_backup_is_one_file_that_others_cannot_read(data: Path, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    backup(data, tmp_path / "copies" / "copy")
    assert names(tmp_path / "copies") == ["copy"]
    assert (tmp_path / "copies" / "copy").stat().st_mode & 0o777 == 0o600


async def test_a_backup_overwrites_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("last year's")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory").mkdir()
    for name in ("copy", "link", "directory"):
        with pytest.raises(FileExistsError, match=f"{name} exists"):
            backup(data, tmp_path / name)
    assert (tmp_path / "copy").read_text() == "last year's"
    assert names(tmp_path) == ["copy", "data", "directory", "link"]


def test_without_a_log_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        backup(tmp_path, tmp_path / "copy")
    assert names(tmp_path) == []


async def test_a_directory_that_is_missing_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no directory {tmp_path}/missing"):
        backup(data, tmp_path / "missing" / "copy")


@pytest.mark.parametrize("name", ["events.db-journal", "events.db-restoring", "views.db-wal", "sinks.db", "clean-stop"])
async def test_a_backup_takes_no_name_that_the_bank_uses(data: Path, name: str) -> None:
    before = names(data)
    with pytest.raises(FileExistsError, match=r"is a name that the bank itself uses"):
        backup(data, data / name)
    assert names(data) == before


async def test_one_of_two_backups_to_one_name_succeeds(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*_: int) -> None:
        with pytest.raises(FileExistsError, match=r"another backup to .*copy is being made"):
            backup(data, tmp_path / "copy")

    monkeypatch.setattr(MODULE, "_let_signals_in", second)
    backup(data, tmp_path / "copy")
    assert names(tmp_path) == ["copy", "data"]
    assert log_in(tmp_path / "copy") == 1


async def test_a_backup_that_ends_while_the_next_one_begins_is_not_overwritten(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one has opened the unfinished file, which then becomes the finished one."""
    flock = MODULE.fcntl.flock

    def finish_another_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(MODULE.fcntl, "flock", flock)
        backup(data, tmp_path / "copy")
        flock(descriptor, operation)

    monkeypatch.setattr(MODULE.fcntl, "flock", finish_another_first)
    with pytest.raises(FileExistsError, match="copy exists"):
        backup(data, tmp_path / "copy")
    assert names(tmp_path) == ["copy", "data"]
    assert log_in(tmp_path / "copy") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
async def test_a_backup_that_is_interrupted_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(*_: int) -> None:
        raise error

    monkeypatch.setattr(MODULE, "_let_signals_in", interrupt)
    with pytest.raises(error):
        backup(data, tmp_path / "copy")
    assert names(tmp_path) == ["data"]


async def test_the_leftovers_of_a_killed_backup_do_not_block_the_next(data: Path, tmp_path: Path) -> None:
    for suffix in ("", "-journal", "-wal"):
        shutil.copy(data / f"{FILE}-wal", tmp_path / f"copy.unfinished{suffix}")
    backup(data, tmp_path / "copy")
    assert names(tmp_path) == ["copy", "data"]
    assert log_in(tmp_path / "copy") == 1


async def test_a_damaged_log_is_not_backed_up(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / FILE)) as connection, connection:
        connection.execute("UPDATE events SET data = x'00'")
    with pytest.raises(StoreRefused, match=rf"{data}/events.db is damaged: the event at position 1 is not what"):
        backup(data, tmp_path / "copy")
    assert names(tmp_path) == ["data"]


def log_in(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])

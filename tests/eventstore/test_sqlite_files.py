"""A start refuses files that are not what the bank left behind, and changes none of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from openbank.config import Settings
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.port import NO_STREAM
from openbank.eventstore.sqlite import FILE, LogFile, SqliteEventStore, accept_loss, backup, check
from openbank.upkeep.verify import verify
from openbank.views.matching import match_log
from openbank.views.sqlite import SqliteViews
from tests.eventstore.conformance import some_event, some_events
from tests.eventstore.files import EPOCH, PAGE, WAL, contents, events_in, put_back, states_of, write


@pytest.fixture
async def stopped(tmp_path: Path) -> Path:
    await write(tmp_path / "data", 10, clean=True)
    return tmp_path / "data"


@pytest.fixture
async def killed(stopped: Path) -> Path:
    """Ten events at its last stop, and five more in its WAL."""
    await write(stopped, 5, clean=False)
    assert (stopped / WAL).stat().st_size > 0
    return stopped


def assert_refused(directory: Path, why: str) -> None:
    before = contents(directory)
    with pytest.raises(StoreRefused, match=why):
        SqliteEventStore(directory)
    assert contents(directory) == before


# A WAL of another log


Replace = Callable[[Path, Path], object]


@pytest.mark.parametrize("put", [shutil.move, shutil.copyfile, os.replace])
async def test_a_backup_over_a_crashed_log_is_not_ruined_by_its_wal(killed: Path, tmp_path: Path, put: Replace) -> None:
    backup(killed, tmp_path / "backup.db")
    await write(killed, 5, clean=False)
    put(tmp_path / "backup.db", killed / FILE)
    assert_refused(killed, r"events\.db-wal belongs to another log .*openbank restore --data")

    before = contents(killed)
    for reads in (
        accept_loss,
        LogFile,
        lambda data: asyncio.run(verify(Settings(data=data))),
        lambda data: backup(data, data / "b"),
    ):
        with pytest.raises(StoreRefused, match="belongs to another log"):
            await asyncio.to_thread(reads, killed)
        assert contents(killed) == before


async def test_a_raw_copy_from_before_the_last_start_is_not_ruined_either(stopped: Path, tmp_path: Path) -> None:
    shutil.copy(stopped / FILE, tmp_path / "raw.db")
    await write(stopped, 5, clean=False)
    shutil.copy(tmp_path / "raw.db", stopped / FILE)
    assert_refused(stopped, "belongs to another log")


async def test_another_banks_log_is_not_ruined_either(killed: Path, tmp_path: Path) -> None:
    await write(tmp_path / "other", 3, clean=True)
    shutil.copy(tmp_path / "other" / FILE, killed / FILE)
    assert_refused(killed, "belongs to another log")


async def test_a_wal_from_elsewhere_is_refused(killed: Path, tmp_path: Path) -> None:
    """Beside a log that was stopped, and in the place of its own. It has the epoch of the database that it is beside
    now, so that it is what SQLite would make of the two that is refused."""
    for events in (3, 12, 40):
        other = tmp_path / f"other-{events}"
        await write(other, events, clean=False)
        shutil.copy(other / WAL, killed / WAL)
        assert_refused(killed, "is damaged|are lost|can't be read")
    old = (other / WAL).read_bytes()
    await write(other, 10, clean=True)
    (other / WAL).write_bytes(old)
    assert_refused(other, "is damaged|are lost|can't be read")


async def test_a_backup_beside_an_empty_wal_starts(stopped: Path, tmp_path: Path) -> None:
    backup(stopped, tmp_path / "backup.db")
    await write(stopped, 5, clean=True)
    (stopped / WAL).touch()
    shutil.copy(tmp_path / "backup.db", stopped / FILE)
    assert await events_in(stopped) == 10


async def test_kills_and_checkpoints_between_them_are_not_reported_as_a_loss(stopped: Path) -> None:
    for events in (1, 0, 5, 0):
        await write(stopped, events, clean=False)
        with closing(sqlite3.connect(stopped / FILE)) as connection:
            # By another program, of which nothing is left but what is in the files.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            left = contents(stopped)
        put_back(stopped, left)
    assert await events_in(stopped) == 16


async def test_a_kill_at_any_step_of_a_start_is_not_reported_as_a_loss(killed: Path, tmp_path: Path) -> None:
    """Every state of the files that a start goes through, as each sync and rename leaves it."""
    with states_of(killed, tmp_path) as states:
        store = SqliteEventStore(killed)
    await store.append("account-1", 15, some_events())
    states.append(shutil.copytree(killed, tmp_path / "later"))
    await store.close()
    assert len(states) > 7
    for state in states:
        assert await events_in(state) in (15, 16)


async def test_the_directory_of_an_earlier_version_starts(killed: Path) -> None:
    (killed / EPOCH).unlink()
    assert await events_in(killed) == 15
    assert (killed / EPOCH).exists()


async def test_a_directory_that_is_copied_or_moved_after_a_kill_starts(killed: Path, tmp_path: Path) -> None:
    shutil.copytree(killed, tmp_path / "copy")
    assert await events_in(tmp_path / "copy") == 15


# Nothing, or something else, where the log should be


@pytest.mark.parametrize("traces", [("clean-stop",), (WAL,), (EPOCH,), ("views.db",), ("sinks.db",)])
async def test_a_missing_log_is_not_replaced_by_a_new_one(killed: Path, traces: tuple[str, ...]) -> None:
    (killed / "views.db").write_bytes(b"views")
    (killed / "sinks.db").write_bytes(b"sinks")
    put_back(killed, {name: content for name, content in contents(killed).items() if name in traces})
    assert_refused(
        killed, rf"events\.db is missing, but a bank's {traces[0]} is there: .*openbank restore --data {killed} FILE"
    )


async def test_empty_views_are_not_a_trace_of_a_bank(tmp_path: Path) -> None:
    """An earlier version made them before the log, and was killed between the two."""
    views = SqliteViews(tmp_path)
    await views.close()
    assert await events_in(tmp_path) == 0


async def test_views_that_have_seen_a_log_are(stopped: Path, tmp_path: Path) -> None:
    store, views = SqliteEventStore(stopped), SqliteViews(tmp_path)
    await match_log(views, store)
    await store.close()
    await views.close()
    assert_refused(tmp_path, r"events\.db is missing, but a bank's views\.db is there")


async def test_a_log_cut_to_nothing_is_refused(killed: Path) -> None:
    (killed / FILE).write_bytes(b"")
    assert_refused(killed, r"events\.db is empty; restore a backup: openbank restore")


@pytest.mark.parametrize("size", [PAGE, 100, 50, 2 * PAGE, 12_000])
async def test_the_beginning_of_a_log_is_refused(killed: Path, tmp_path: Path, size: int) -> None:
    """Also that of a served log: its tables are in the file before its WAL is used."""
    for name in ("fresh", "later", "served"):
        (tmp_path / name).mkdir()
    store = SqliteEventStore(tmp_path / "served")
    await store.append("account-1", NO_STREAM, some_events())
    for name, source in (("fresh", tmp_path / "served"), ("later", killed)):
        (tmp_path / name / FILE).write_bytes((source / FILE).read_bytes()[:size])
        assert_refused(tmp_path / name, "is damaged|is not a database|malformed")
    await store.close()


async def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert_refused(tmp_path, "a database without tables")


async def test_a_path_that_is_not_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory" / FILE).mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / FILE)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / FILE).symlink_to(tmp_path / "nowhere")
    for name, why in (("directory", "is a directory"), ("pipe", "not a regular file"), ("link", "a link to a file")):
        with pytest.raises(StoreRefused, match=why):
            SqliteEventStore(tmp_path / name)


async def test_an_unfinished_log_of_a_killed_first_start_is_replaced(tmp_path: Path) -> None:
    for suffix in ("", "-journal", "-wal"):
        (tmp_path / f"{FILE}.unfinished{suffix}").write_bytes(b"half")
    assert await events_in(tmp_path) == 0
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]


# Torn copies


@pytest.fixture
async def busy(tmp_path: Path) -> Path:
    """Many streams, and pages enough for each index to have several."""
    (tmp_path / "data").mkdir()
    store = SqliteEventStore(tmp_path / "data")
    for number in range(3_000):
        event = some_event()
        await store.append(f"account-{number % 300}", number // 300, [event])
    await store.close()
    return tmp_path / "data"


def behind_the_back_of(directory: Path, index: str, statement: str) -> None:
    """Changes the table, and leaves the index as it was."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as connection:
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", (index,)).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
        connection.execute("PRAGMA writable_schema = RESET")
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as connection:
        connection.execute(statement)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)


@pytest.mark.parametrize("index", ["events_stream", "events_request"])
@pytest.mark.parametrize(
    ("position", "where"), [(15, "at the end"), (11, "at the end"), (3, "long before the last stop")]
)
async def test_an_index_that_lacks_an_event_is_found(killed: Path, index: str, position: int, where: str) -> None:
    with closing(sqlite3.connect(killed / FILE)) as connection, connection:
        connection.execute(f"CREATE TABLE kept AS SELECT * FROM events WHERE position = {position}")
        connection.execute(f"DELETE FROM events WHERE position = {position}")
    behind_the_back_of(killed, index, "INSERT INTO events SELECT * FROM kept")
    assert_refused(killed, "is damaged: .*index")
    assert (await verify(Settings(data=killed))).fault_count > 0


@pytest.mark.parametrize("index", ["events_stream", "events_request"])
async def test_an_index_is_looked_at_in_a_large_log_too(
    killed: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its end: the whole is not checked."""
    monkeypatch.setattr(check, "STRUCTURE_PAGES_MAX", 1)
    with closing(sqlite3.connect(killed / FILE)) as connection, connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM events WHERE position = 14")
        connection.execute("DELETE FROM events WHERE position = 14")
    behind_the_back_of(killed, index, "INSERT INTO events SELECT * FROM kept")
    assert_refused(killed, "is damaged: an index does not have the event at position 14")


@pytest.mark.parametrize("index", ["events_stream", "events_request"])
async def test_an_index_that_is_further_than_its_table_is_found(killed: Path, index: str) -> None:
    behind_the_back_of(killed, index, "DELETE FROM events WHERE position > 12")
    assert_refused(killed, "is damaged: .*index")
    with pytest.raises(StoreRefused, match="is damaged"):
        accept_loss(killed)
    assert (await verify(Settings(data=killed))).fault_count > 0


async def test_a_copy_with_pages_of_several_moments_is_refused(
    busy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page of the copy is of the first or of the second moment, as a slow copy under load has them."""
    monkeypatch.setattr(check, "TAIL_EVENTS_MAX", 100)
    first = (busy / FILE).read_bytes()
    store = SqliteEventStore(busy)
    for number in range(3_000, 4_000):
        await store.append(f"account-{number % 300}", number // 300, [some_event()])
    await store.close()
    second = (busy / FILE).read_bytes()
    # All but the header, which has the size, and the table with the name of the last opening.
    pages = range(2 * PAGE, len(first), PAGE)
    changed = [at for at in pages if first[at : at + PAGE] != second[at : at + PAGE]]
    assert len(changed) > 10
    for old in (*([at] for at in changed), changed[::2], changed[5:]):
        torn = bytearray(second)
        for at in old:
            torn[at : at + PAGE] = first[at : at + PAGE]
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / FILE).write_bytes(torn)
        assert_refused(copy, "is damaged|can't be read")
        shutil.rmtree(copy)


@pytest.mark.parametrize("change", [-PAGE, -100, PAGE, 100])
async def test_a_file_that_is_longer_or_shorter_than_it_says_is_refused(stopped: Path, change: int) -> None:
    content = (stopped / FILE).read_bytes()
    (stopped / FILE).write_bytes(content[:change] if change < 0 else content + bytes(change))
    assert_refused(stopped, r"is damaged: it has [\d,]+ bytes, and its header says [\d,]+")


async def test_a_log_that_is_large_is_only_checked_at_its_end(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STRUCTURE_PAGES_MAX", 1)
    assert await events_in(killed) == 15

"""The embedded views."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from openbank.domain.money import Money
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.eventstore.request_index import Indexed
from openbank.following.tail import LogTail
from openbank.integrity.quarantine import Quarantine
from openbank.views.port import Views, ViewsDamaged, ViewsUnavailable
from openbank.views.rebuild import Rebuilds
from openbank.views.sqlite import FILE, NEXT_FILE, SqliteRebuilds, SqliteViews, kept, schema, writer
from openbank.views.sqlite import views as views_module
from openbank.views.sqlite.schema import TABLES
from openbank.views.sqlite.views import REST_SECONDS_MAX
from openbank.views.sqlite.widening import widen
from tests.callers import until
from tests.eventstore.memory import MemoryStore
from tests.views.conformance import OpenViews, ViewsConformance
from tests.views.earlier import to_format_6, to_oldest_format
from tests.views.histories import LOG, USD, History, assert_holds, changes_of, project_events, project_log
from tests.views.holds import place, send
from tests.views.rebuilds import OpenRebuilds, RebuildConformance, live, new_rebuilder, no_more, rebuild

PAGE = 4096


class TestSqliteViews(ViewsConformance):
    @pytest.fixture
    def open_views(self, tmp_path: Path) -> OpenViews:
        async def open_views() -> Views:
            return SqliteViews(tmp_path)

        return open_views

    async def test_accounts_of_many_owners_fit_in_little_memory(
        self, views: Views, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dropping an entry of a full cache must not leave a list that is never corrected."""
        monkeypatch.setattr(kept, "ACCOUNTS_MAX", 5)
        await self.test_a_list_that_was_read_before_has_what_changed_since(views, history)


class TestSqliteRebuilds(RebuildConformance):
    @pytest.fixture
    def open_rebuilds(self, tmp_path: Path) -> OpenRebuilds:
        async def open_rebuilds() -> tuple[Views, Rebuilds]:
            views = SqliteViews(tmp_path)
            return views, SqliteRebuilds(tmp_path, views)

        return open_rebuilds

    @pytest.fixture
    def make_earlier(self, tmp_path: Path) -> Callable[[], None]:
        return lambda: to_format_6(tmp_path / FILE)

    async def test_a_rebuild_that_finds_no_room_ends_and_leaves_none_taken(
        self, opened: tuple[SqliteViews, SqliteRebuilds], history: History, tmp_path: Path
    ) -> None:
        views, rebuilds = opened
        for _ in range(200):
            await history.deposit("1")
        tail = LogTail(history.store)
        rebuilder = new_rebuilder(views, rebuilds, history, tail, Quarantine(history.store, lambda: 0))
        await rebuilder.start()
        filled = await rebuilds.next_views()
        assert isinstance(filled, SqliteViews)
        for connection in (filled._file._connection, filled._file._bulk):
            connection.execute("PRAGMA max_page_count = 1")
        running = [asyncio.create_task(work) for work in (tail.run(), rebuilder.run())]
        try:
            await until(lambda: rebuilds.record is not None and not rebuilds.record.running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
        assert rebuilds.record is not None
        assert "disk is full" in rebuilds.record.failure
        assert not [name for name in os.listdir(tmp_path) if name.startswith(NEXT_FILE)]
        assert await views.account("1") is not None

    @pytest.mark.parametrize("turns", range(1, 6))
    async def test_a_caller_that_leaves_while_a_rebuild_begins_does_not_keep_it_from_its_end(
        self, opened: tuple[SqliteViews, SqliteRebuilds], history: History, turns: int
    ) -> None:
        views, rebuilds = opened
        gc.collect()
        # It would close what was left open, sooner or later.
        gc.disable()
        leaving = asyncio.create_task(rebuilds.start(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        try:
            await rebuilds.start(2)
            await rebuild(rebuilds, history)
        finally:
            gc.enable()
        await assert_holds(views, history)

    @pytest.mark.parametrize("step", ["sync", "rename"])
    async def test_a_switch_that_fails_half_way_stops_writing_and_leaves_complete_views(
        self,
        opened: tuple[SqliteViews, SqliteRebuilds],
        open_rebuilds: OpenRebuilds,
        history: History,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
    ) -> None:
        views, rebuilds = opened
        await rebuilds.start(1)
        filled = await rebuilds.next_views()
        assert filled is not None
        events = await history.events()
        await filled.project(changes_of(events), events[-1].place)

        def failing(*_: object) -> None:
            raise OSError("the disk is gone")

        with monkeypatch.context() as broken:
            where: object = schema if step == "sync" else Path
            broken.setattr(where, "sync" if step == "sync" else "replace", failing)
            with pytest.raises(ViewsDamaged, match="could not be replaced"):
                await rebuilds.switch(2, no_more)
        with pytest.raises(ViewsDamaged, match="could not be replaced"):
            await project_log(views, history)
        await assert_holds(views, history)
        await rebuilds.close()
        await views.close()
        again, continued = await open_rebuilds()
        await assert_holds(again, history)
        await rebuild(continued, history)
        await assert_holds(again, history)
        await continued.close()
        await again.close()


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[SqliteViews]:
    views = SqliteViews(tmp_path)
    await views.clear(LOG)
    yield views
    await views.close()


@pytest.fixture
async def history() -> History:
    """Ann, her two accounts, and some deposits."""
    history = History(MemoryStore())
    await history.register("ann")
    for account_id in ("1", "2"):
        await history.open(account_id, "ann")
    for number in range(200):
        await history.deposit("1" if number % 3 else "2")
    return history


async def test_as_an_index_views_know_an_accounts_requests_up_to_their_position(
    history: History, tmp_path: Path
) -> None:
    views = SqliteViews(tmp_path, index_requests=True)
    await views.clear(LOG)
    await project_log(views, history)
    recorded = await history.events_of("1")
    ids = [event.metadata.request_id for event in recorded]
    assert await views.find_requests("account-1", [ids[3], ids[1]]) == Indexed([2, 4], len(recorded))
    assert await views.find_requests("account-1", [b"unknown".ljust(16), b""]) == Indexed([], len(recorded))
    assert await views.find_requests("account-2", ids) == Indexed([], len(await history.events_of("2")))
    for stream in ("person-ann", "request-x", "number-x", "account-unknown"):
        assert await views.find_requests(stream, [b"1" * 16]) == Indexed([], 0)
    await views.close()


async def test_a_read_that_waits_ends_the_rest_after_a_batch(views: SqliteViews) -> None:
    views._rest_seconds = 600.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(views_module, "REST_SECONDS_MAX", 600.0)
        resting = asyncio.create_task(views.project((), LogPosition(1)))
        await until(lambda: views.place.position == 1)
        await asyncio.sleep(0.01)
        assert not resting.done()
        waiting = asyncio.create_task(views.wait_for(2))
        await asyncio.wait_for(resting, 5)
        await asyncio.wait_for(views.project((), LogPosition(2), LogPosition(1)), 5)
        await asyncio.wait_for(waiting, 5)


async def test_the_projector_rests_less_after_larger_batches(
    views: SqliteViews, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(views._resting, "wait", rest)
    many = [event for event in await history.events() if event.position <= 120]
    await project_events(views, many)
    await views.project((), many[-1].place)
    assert rests[0] < rests[1] == REST_SECONDS_MAX


async def test_a_batch_that_fails_half_way_leaves_nothing_behind(
    views: SqliteViews, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await history.events()
    await project_events(views, events[:3])
    place = views.place
    monkeypatch.setattr(writer, "_SET_CHECKPOINT", "no SQL at all")
    with pytest.raises(ViewsUnavailable):
        await project_events(views, events[3:])
    account = await views.account("1")
    assert account is not None
    assert account.revision == 1
    assert views.place == place
    monkeypatch.undo()
    await project_events(views, events[3:])
    await assert_holds(views, history)


async def test_a_kill_between_batches_leaves_views_that_continue(
    views: SqliteViews, history: History, tmp_path: Path
) -> None:
    events = await history.events()
    for number, start in enumerate(range(0, len(events), 50)):
        await project_events(views, events[start : start + 50])
        left = tmp_path / f"left-{number}"
        left.mkdir()
        for name in (FILE, f"{FILE}-wal"):
            shutil.copy(tmp_path / name, left)
        again = SqliteViews(left)
        assert again.place == views.place
        rest = [event for event in events if event.position > again.place.position]
        assert len(rest) == len(events) - min(start + 50, len(events))
        if rest:
            await project_events(again, rest)
        await assert_holds(again, history)
        await again.close()


async def test_without_their_file_they_start_over(views: SqliteViews, history: History, tmp_path: Path) -> None:
    await project_log(views, history)
    # As after a kill, so that the WAL is still there: it must not come back to life.
    (tmp_path / FILE).unlink()
    again = SqliteViews(tmp_path)
    assert (again.log, again.place) == (None, BEGINNING)
    assert await again.person("ann") is None
    await again.close()


@pytest.mark.parametrize("version", [0, 99])
async def test_views_of_another_format_are_set_aside(
    views: SqliteViews, history: History, tmp_path: Path, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    await project_log(views, history)
    await views.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    await assert_starts_over(tmp_path, caplog)


async def test_widened_views_have_the_columns_of_new_ones_in_their_order_and_keep_their_rows(
    views: SqliteViews, history: History, tmp_path: Path
) -> None:
    hold_id = await place(history, "1", 100)
    await send(history, "1", hold_id, 50)
    await project_log(views, history)
    await views.close()
    path = tmp_path / FILE
    with closing(sqlite3.connect(path)) as connection:
        # That format had no tags.
        connection.execute("UPDATE holds SET tags = ''")
        connection.execute("UPDATE transfers SET tags = NULL")
        connection.commit()
        before = shape_of(connection)
        rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    to_format_6(path)
    assert widen(path)
    assert widen(path)
    with closing(sqlite3.connect(path)) as connection:
        assert shape_of(connection) == before
        for table in ("persons", "holds", "transfers", "minutes", "checkpoint"):
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == rows[table]
        assert rows["holds"]
        assert rows["transfers"]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'wider%'").fetchall() == []


async def test_widened_views_find_an_account_by_its_number_whose_hyphens_counted_before(
    views: SqliteViews, history: History, tmp_path: Path
) -> None:
    await history.open("3", "ann", "NL12-bank 34", Money(USD, 500))
    await project_log(views, history)
    await views.close()
    to_oldest_format(tmp_path / FILE)
    widened = SqliteViews(tmp_path)
    assert not widened.complete
    assert await widened.accounts_by_number("NL12BANK34") == [history.accounts["3"].resource]
    await widened.close()


def shape_of(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """The name and type of every column, and whether it is required."""
    columns = {table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in TABLES}
    return {table: [column[1:4] for column in found] for table, found in columns.items()}


async def test_another_programs_database_is_set_aside_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE theirs (word TEXT)")
        connection.execute("INSERT INTO theirs VALUES ('kept')")
    connection.close()
    await assert_starts_over(tmp_path, caplog)
    with sqlite3.connect(tmp_path / f"{FILE}.set-aside") as connection:
        assert connection.execute("SELECT word FROM theirs").fetchall() == [("kept",)]
    connection.close()


async def test_a_file_that_is_not_a_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"\x00not a database" * 1000)
    await assert_starts_over(tmp_path, caplog)


async def test_a_file_that_was_cut_is_set_aside(
    views: SqliteViews, history: History, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await project_log(views, history)
    await views.close()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:5000])
    await assert_starts_over(tmp_path, caplog)


async def test_damage_found_later_is_reported_and_the_next_start_rebuilds(
    views: SqliteViews, history: History, tmp_path: Path
) -> None:
    await project_log(views, history)
    await views.close()
    spoil(tmp_path / FILE, "accounts")
    damaged = SqliteViews(tmp_path)
    with pytest.raises(ViewsDamaged, match="the next start builds it again"):
        await assert_holds(damaged, history)
    with pytest.raises(ViewsUnavailable):
        await damaged.account_events("1", 1000, 1000)
    await damaged.close()
    again = SqliteViews(tmp_path)
    assert again.log is None
    await again.clear(LOG)
    await project_log(again, history)
    await assert_holds(again, history)
    await again.close()


async def test_damage_is_mended_by_a_rebuild_without_a_restart(
    views: SqliteViews, history: History, tmp_path: Path
) -> None:
    await project_log(views, history)
    await views.close()
    spoil(tmp_path / FILE, "accounts")
    views = SqliteViews(tmp_path)
    rebuilds = SqliteRebuilds(tmp_path, views)
    tail = LogTail(history.store)
    quarantine = Quarantine(history.store, lambda: 0)
    rebuilder = new_rebuilder(views, rebuilds, history, tail, quarantine)
    projector = live(views, history, tail, quarantine)
    works = (tail.run(), projector.again(projector.run), rebuilder.run())
    running = [asyncio.create_task(work) for work in works]
    try:
        await history.deposit("1")
        await until(lambda: projector.failure is not None)
        await rebuilder.start()
        await until(lambda: projector.failure is None)
        await history.deposit("2")
        await views.wait_for((await history.events())[-1].position)
        await assert_holds(views, history)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await rebuilds.close()
        await views.close()
    assert (tmp_path / f"{FILE}.set-aside").exists()


def spoil(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    content = bytearray(path.read_bytes())
    content[(page - 1) * PAGE : page * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)


async def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ViewsUnavailable, match=r"views\.db can't be opened"):
        SqliteViews(tmp_path / "nowhere")


async def test_closed_views_are_unavailable(views: SqliteViews) -> None:
    await views.close()
    with pytest.raises(ViewsUnavailable):
        await views.person("ann")


async def assert_starts_over(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        views = SqliteViews(directory)
    assert [record.message for record in caplog.records] == ["views are rebuilt"]
    assert (views.log, views.place) == (None, BEGINNING)
    assert await views.persons(0, 10) == []
    await views.close()
    assert (directory / f"{FILE}.set-aside").exists()

"""The event store in SQLite: what every event store does, and what is this one's own."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import shutil
import sqlite3
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from openbank.codec import events as codec
from openbank.domain.account_events import MoneyDeposited
from openbank.eventstore.errors import (
    OutcomeUnknown,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
    WrongExpectedRevision,
)
from openbank.eventstore.port import BEGINNING, NO_STREAM, EventStore, Metadata, NewEvent
from openbank.eventstore.seal import KEY_BYTES
from openbank.eventstore.sqlite import FILE, SqliteEventStore, backup, subscriber, wal, writer
from openbank.eventstore.sqlite import commits as sqlite_commits
from openbank.eventstore.sqlite import store as sqlite_store
from tests.eventstore.conformance import (
    TIME,
    EventStoreConformance,
    OpenStore,
    assert_recorded,
    some_event,
    some_events,
    whole_log,
)
from tests.eventstore.upstream_conformance import UpstreamConformance
from tests.examples import usd


@pytest.fixture
def open_store(tmp_path: Path) -> OpenStore:
    opened: list[SqliteEventStore] = []

    async def open_store() -> EventStore:
        while opened:
            await opened.pop().close()
        opened.append(SqliteEventStore(tmp_path))
        return opened[0]

    return open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    store = SqliteEventStore(tmp_path)
    yield store
    await store.close()


class TestConformance(EventStoreConformance):
    @pytest.fixture
    def open_store(self, open_store: OpenStore) -> OpenStore:
        return open_store


class TestConformanceInNarrowBounds(EventStoreConformance):
    """With a memory for two streams and commits of three events, whatever is rare otherwise happens all the time."""

    @pytest.fixture
    def open_store(self, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
        monkeypatch.setattr(writer, "HEADS_MAX", 2)
        monkeypatch.setattr(writer, "STATEMENT_ROWS_MAX", 2)
        monkeypatch.setattr(writer, "NAMES_MAX", 3)
        monkeypatch.setattr(sqlite_commits, "BATCH_EVENTS_MAX", 3)
        monkeypatch.setattr(sqlite_store, "STEP", 3)
        return open_store


class TestUpstream(UpstreamConformance):
    @pytest.fixture
    def store(self, store: SqliteEventStore) -> SqliteEventStore:
        return store


class TestUpstreamThatIsReadTooSlowly(UpstreamConformance):
    """What does not fit into a subscriber's buffer is read from the file, without a gap."""

    @pytest.fixture
    def store(self, store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch) -> SqliteEventStore:
        monkeypatch.setattr(subscriber, "BUFFER_EVENTS_MAX", 4)
        return store


# Durable


def commits(directory: Path) -> int:
    """How many commits the WAL holds: frames that state the size of the database after them, as its format has it."""
    written = (directory / f"{FILE}-wal").read_bytes()
    if not written:
        return 0
    page_size, salts = struct.unpack_from(">I", written, 8)[0], written[16:24]
    frames = [written[at : at + 24] for at in range(32, len(written), 24 + page_size)]
    return sum(1 for frame in frames if frame[8:16] == salts and struct.unpack_from(">I", frame, 4)[0])


async def test_writes_that_arrive_together_share_one_commit(store: SqliteEventStore, tmp_path: Path) -> None:
    await store.append("account-0", NO_STREAM, some_events())
    before = commits(tmp_path)
    await asyncio.gather(*(store.append(f"account-{n}", NO_STREAM, some_events()) for n in range(1, 51)))
    assert commits(tmp_path) == before + 1


async def test_writes_that_arrive_during_a_commit_share_the_next(store: SqliteEventStore, tmp_path: Path) -> None:
    before = commits(tmp_path)
    first = asyncio.ensure_future(store.append("account-0", NO_STREAM, some_events()))
    # One turn to ask, one for the commit to be handed over.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, *(store.append(f"account-{n}", NO_STREAM, some_events()) for n in range(1, 51)))
    assert commits(tmp_path) == before + 2


async def test_every_lone_write_is_a_commit_of_its_own(store: SqliteEventStore, tmp_path: Path) -> None:
    before = commits(tmp_path)
    for revision in range(5):
        await store.append("account-1", revision, some_events())
    assert commits(tmp_path) == before + 5


class Disk:
    """Holds up every sync until the test releases it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Event()
        self.goes_on = threading.Event()
        self.error: OSError | None = None
        self._sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._held_up)

    def _held_up(self, file: int) -> None:
        self.asked.set()
        assert self.goes_on.wait(10)
        if self.error:
            raise self.error
        self._sync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.goes_on.set()


async def test_a_commit_is_neither_acknowledged_nor_shown_before_it_is_synced(
    disk: Disk, store: SqliteEventStore, tmp_path: Path
) -> None:
    before, upstream = commits(tmp_path), store.subscribe(BEGINNING)
    assert (await anext(upstream)).caught_up
    shown = asyncio.ensure_future(anext(upstream))
    request = uuid4().bytes
    appended = asyncio.ensure_future(store.append("account-1", NO_STREAM, some_events(request_id=request)))
    assert await asyncio.to_thread(disk.asked.wait, 10)
    assert commits(tmp_path) == before + 1
    # Nor may another try of it, or one that is refused, be answered on the strength of it.
    other = asyncio.ensure_future(store.append("account-1", NO_STREAM, some_events()))
    assert await store.head() == BEGINNING
    assert await whole_log(store) == []
    assert await store.read_stream("account-1") == []
    assert await store.find_requests("account-1", [request]) == []
    assert await store.locate("account-1", 1) is None
    assert await store.position_at(0) == BEGINNING
    assert not any(waiting.done() for waiting in (appended, other, shown))

    disk.goes_on.set()
    assert await appended == 1
    with pytest.raises(WrongExpectedRevision):
        await other
    assert [event.stream for event in (await shown).events] == ["account-1"]
    assert len(await store.read_stream("account-1")) == 1


async def test_a_sync_that_fails_ends_the_store_and_acknowledges_nothing(disk: Disk, tmp_path: Path) -> None:
    reasons: list[str] = []
    store = SqliteEventStore(tmp_path, sync_failed=reasons.append)
    disk.error = OSError(errno.EIO, "the disk has failed")
    appended = asyncio.ensure_future(store.append("account-1", NO_STREAM, some_events()))
    assert await asyncio.to_thread(disk.asked.wait, 10)
    waiting = asyncio.ensure_future(store.append("account-2", NO_STREAM, some_events()))
    await asyncio.sleep(0)
    disk.goes_on.set()
    with pytest.raises(OutcomeUnknown):
        await appended
    # It was never tried.
    with pytest.raises(StoreUnavailable):
        await waiting
    assert [("failed" in reason) for reason in reasons] == [True]
    for asked in (store.append("account-3", NO_STREAM, some_events()), store.read_stream("account-1"), store.head()):
        with pytest.raises(StoreUnavailable):
            await asked
    await store.close()


async def test_a_long_wal_restarts_while_others_write(
    store: SqliteEventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "FRAMES_MAX", 50)
    monkeypatch.setattr(sqlite_commits, "CHECKPOINT_EVENTS", 20)
    await asyncio.gather(*(_appended_one_by_one(store, f"account-{n}", 100) for n in range(8)))
    assert (tmp_path / f"{FILE}-wal").stat().st_size < 1 << 20
    assert len(await whole_log(store)) == 800


async def _appended_one_by_one(store: SqliteEventStore, stream: str, events: int) -> None:
    for revision in range(events):
        await store.append(stream, revision, some_events())


async def test_acknowledged_events_survive_a_kill_and_are_synced_before_they_are_shown(
    store: SqliteEventStore, tmp_path: Path
) -> None:
    for revision in range(5):
        await store.append("account-1", revision, some_events())
    log = await whole_log(store)
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in (FILE, f"{FILE}-wal"):
        shutil.copy(tmp_path / file, killed)
    assert (killed / f"{FILE}-wal").stat().st_size > 0

    again = SqliteEventStore(killed)
    # What the WAL had may never have been synced; now it is in the file, by a checkpoint, which syncs.
    assert (killed / f"{FILE}-wal").stat().st_size == 0
    assert await whole_log(again) == log
    assert (again.bank_id, again.store_id) == (store.bank_id, store.store_id)
    await again.close()


async def test_a_log_has_a_key_of_its_own_for_tokens_and_keeps_it(store: SqliteEventStore, tmp_path: Path) -> None:
    key = store.token_key
    assert len(key.secret) == KEY_BYTES
    await store.close()
    again = SqliteEventStore(tmp_path)
    assert again.token_key == key
    await again.close()
    (tmp_path / "other").mkdir()
    other = SqliteEventStore(tmp_path / "other")
    assert other.token_key != key
    await other.close()


async def test_a_log_of_an_earlier_version_gets_a_key_at_its_first_start(
    store: SqliteEventStore, tmp_path: Path
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    await store.close()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as earlier:
        earlier.execute("DELETE FROM meta WHERE name = 'token_key'")
    keys = set()
    for _ in range(2):
        again = SqliteEventStore(tmp_path)
        keys.add(again.token_key.secret)
        assert len(await whole_log(again)) == 1
        await again.close()
    [key] = keys
    assert len(key) == KEY_BYTES


async def test_a_key_is_durable_before_a_token_can_be_sealed_with_it(tmp_path: Path) -> None:
    """A process that is killed right after its start has given tokens."""
    store = SqliteEventStore(tmp_path)
    (tmp_path / "killed").mkdir()
    for file in (FILE, f"{FILE}-wal"):
        shutil.copy(tmp_path / file, tmp_path / "killed")
    again = SqliteEventStore(tmp_path / "killed")
    assert again.token_key == store.token_key
    await again.close()
    await store.close()


async def test_only_this_process_writes(store: SqliteEventStore) -> None:
    assert store.sole_writer


# Bounds


async def test_an_append_may_have_more_events_than_one_statement_has_room_for(store: SqliteEventStore) -> None:
    events = [some_event(b"") for _ in range(20_000)]
    await store.append("account-1", NO_STREAM, events)
    log = await whole_log(store)
    assert [event.id for event in log] == [event.id for event in events]


async def test_an_event_that_cannot_be_stored_harms_no_other(store: SqliteEventStore) -> None:
    half_a_character = some_event()._replace(metadata=Metadata(TIME, correlation_id="\ud800"))
    too_late = some_event()._replace(metadata=Metadata(2**63))
    outcomes = await asyncio.gather(
        store.append("account-1", NO_STREAM, some_events()),
        store.append("account-2", NO_STREAM, [some_event(), half_a_character]),
        store.append("account-3", NO_STREAM, [some_event(), too_late]),
        store.append("account-4", NO_STREAM, some_events()),
        return_exceptions=True,
    )
    assert [isinstance(outcome, int) for outcome in outcomes] == [True, False, False, True]
    assert [(event.stream, event.position) for event in await whole_log(store)] == [("account-1", 1), ("account-4", 2)]
    await store.append("account-2", NO_STREAM, some_events())


async def test_the_size_of_a_deposit_on_disk(store: SqliteEventStore, tmp_path: Path) -> None:
    accounts, each = [f"account-{uuid4()}" for _ in range(500)], 20
    for revision in range(each):
        await asyncio.gather(*(store.append(account, revision, [a_deposit()]) for account in accounts))
    await store.close()
    bytes_each = (tmp_path / FILE).stat().st_size / (len(accounts) * each)
    print(f"{bytes_each:.0f} bytes a deposit, with indexes")
    assert bytes_each <= 300


def a_deposit() -> NewEvent:
    metadata = Metadata(TIME, uuid4().bytes, uuid4().bytes, str(uuid4()), "", str(uuid4()))
    return NewEvent(uuid4().bytes, *codec.encode(MoneyDeposited(usd(12_345), "Salary", usd(1_234_567))), metadata)


async def test_a_request_is_looked_up_not_searched_for(store: SqliteEventStore) -> None:
    request = uuid4().bytes
    await store.append("account-1", NO_STREAM, some_events(request_id=request))
    await store.append("account-1", 1, [event for _ in range(5_000) for event in some_events(request_id=uuid4().bytes)])
    steps = 0

    def count_steps() -> int:
        nonlocal steps
        steps += 1
        return 0

    store._connection.set_progress_handler(count_steps, 1)
    found = await store.find_requests("account-1", [request, uuid4().bytes])
    assert [event.revision for event in found] == [1]
    # Of SQLite's machine; to look at each of the 5,000 takes more than one.
    assert steps < 1_000


# Failing commits


class Sabotaged(sqlite3.Connection):
    """Fails at a statement that begins so, with the error of this number."""

    begins = ""
    code = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self.begins and sql.startswith(self.begins):
            error = sqlite3.OperationalError(f"sabotaged: {sql[:20]}")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, *arguments)


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> type[Sabotaged]:
    """To be asked for before `store`: every connection made from then on can be made to fail."""

    class Connection(Sabotaged):
        pass

    connect = sqlite3.connect

    def connect_with_saboteur(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=Connection, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_with_saboteur)
    return Connection


@pytest.mark.parametrize(
    ("begins", "code", "error"),
    [
        ("BEGIN", sqlite3.SQLITE_BUSY, StoreUnavailable),
        ("BEGIN", sqlite3.SQLITE_IOERR_READ, StoreUnavailable),
        ("INSERT INTO streams", sqlite3.SQLITE_IOERR_READ, StoreUnavailable),
        ("INSERT INTO events", sqlite3.SQLITE_FULL, StoreUnavailable),
        ("COMMIT", sqlite3.SQLITE_FULL, StoreUnavailable),
        ("COMMIT", sqlite3.SQLITE_IOERR_WRITE, OutcomeUnknown),
        ("COMMIT", sqlite3.SQLITE_IOERR_FSYNC, OutcomeUnknown),
    ],
)
async def test_a_failed_commit_fails_all_its_appends_and_the_next_succeeds(
    sabotage: type[Sabotaged], store: SqliteEventStore, begins: str, code: int, error: type[Exception]
) -> None:
    await store.append("account-0", NO_STREAM, some_events())
    before, head = await whole_log(store), await store.head()
    appends = {f"account-{n}": some_events(2) for n in range(1, 6)}

    sabotage.begins, sabotage.code = begins, code
    outcomes = await asyncio.gather(
        *(store.append(stream, NO_STREAM, events) for stream, events in appends.items()), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [error] * 5
    assert await whole_log(store) == before
    assert await store.head() == head

    sabotage.begins = ""
    await asyncio.gather(*(store.append(stream, NO_STREAM, events) for stream, events in appends.items()))
    await store.append("account-0", 1, some_events())
    for stream, events in appends.items():
        assert_recorded(await store.read_stream(stream), stream, 1, events)
    assert len(await whole_log(store)) == 12


async def test_a_failed_rollback_leaves_no_caller_waiting(sabotage: type[Sabotaged], store: SqliteEventStore) -> None:
    events = some_events()
    sabotage.code = sqlite3.SQLITE_IOERR_WRITE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sabotage, "execute", _failing_from_commit_on(sabotage))
        with pytest.raises(OutcomeUnknown):
            await store.append("account-1", NO_STREAM, events)
    # The transaction is still open: the next write finds that, ends it, and the one after is made.
    with pytest.raises(StoreUnavailable):
        await store.append("account-1", NO_STREAM, events)
    await store.append("account-1", NO_STREAM, events)
    assert len(await whole_log(store)) == 1


def _failing_from_commit_on(sabotage: type[Sabotaged]) -> Any:
    def execute(self: Sabotaged, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql in ("COMMIT", "ROLLBACK"):
            error = sqlite3.OperationalError("sabotaged")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
            raise error
        return sqlite3.Connection.execute(self, sql, *arguments)

    return execute


async def test_a_full_disk_is_reported_and_does_no_damage(store: SqliteEventStore) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    writer = store._connection
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    large = [some_event(bytes(100_000))]
    with pytest.raises(StoreUnavailable, match="full"):
        await store.append("account-2", NO_STREAM, large)
    known = [store.writable]
    # What still fits is still written.
    await store.append("account-1", 1, some_events())
    known.append(store.writable)
    assert known == [False, True]
    writer.execute("PRAGMA max_page_count = 1000000")
    await store.append("account-2", NO_STREAM, large)
    assert [event.stream for event in await whole_log(store)] == ["account-1", "account-1", "account-2"]


async def test_a_write_that_the_system_refuses_leaves_the_outcome_open_and_no_damage(
    store: SqliteEventStore, tmp_path: Path
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    events = [some_event(bytes(200_000))]
    with files_of_at_most((tmp_path / f"{FILE}-wal").stat().st_size + 50_000), pytest.raises(OutcomeUnknown):
        await store.append("account-1", 1, events)
    assert len(await whole_log(store)) == 1
    # Who asks again gets it done, once.
    await store.append("account-1", 1, events)
    await store.append("account-1", 1, events)
    assert len(await whole_log(store)) == 2
    await store.close()
    again = SqliteEventStore(tmp_path)
    assert len(await whole_log(again)) == 2
    await again.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_events_that_were_never_written_are_never_shown(
    sabotage: type[Sabotaged], store: SqliteEventStore
) -> None:
    upstream = store.subscribe(BEGINNING)
    assert (await anext(upstream)).caught_up
    sabotage.begins, sabotage.code = "COMMIT", sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(OutcomeUnknown):
        await store.append("account-1", NO_STREAM, some_events())
    sabotage.begins = ""
    await store.append("account-2", NO_STREAM, some_events())
    assert [event.stream for event in (await anext(upstream)).events] == ["account-2"]


async def test_a_stream_that_was_not_written_is_still_not_there(
    sabotage: type[Sabotaged], store: SqliteEventStore
) -> None:
    await store.append("account-1", NO_STREAM, some_events())
    sabotage.begins, sabotage.code = "COMMIT", sqlite3.SQLITE_IOERR_FSYNC
    for stream, revision in (("account-1", 1), ("account-2", 0)):
        with pytest.raises(OutcomeUnknown):
            await store.append(stream, revision, some_events())
    sabotage.begins = ""
    for stream, revision in (("account-1", 2), ("account-2", 1)):
        with pytest.raises(WrongExpectedRevision):
            await store.append(stream, revision, some_events())
    await store.append("account-1", 1, some_events())
    await store.append("account-2", NO_STREAM, some_events())


# Damage


async def test_a_damaged_byte_of_an_event_is_reported_and_never_shown(store: SqliteEventStore, tmp_path: Path) -> None:
    for number in range(8):
        await store.append(f"account-{number % 3}", number // 3, [a_deposit()])
    log = await whole_log(store)
    await store.close()
    file = tmp_path / FILE
    whole = file.read_bytes()
    dice = random.Random(7)
    told = 0
    for offset in dice.sample(bytes_of_events(file), 250):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << dice.randrange(8)
        file.write_bytes(damaged)
        try:
            again = SqliteEventStore(tmp_path)
        except (StoreRefused, StoreUnavailable):
            told += 1
            continue
        try:
            assert await whole_log(again) == log, f"byte {offset} was damaged"
        except (StoreDamaged, StoreUnavailable):
            told += 1
        await again.close()
    assert told > 240


def bytes_of_events(file: Path) -> range:
    """Where the events stand in a file that has room for all of them in one page, as its format has it."""
    with sqlite3.connect(file) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    start = (page - 1) * page_size
    header = file.read_bytes()[start : start + 8]
    assert header[0] == 13, "a leaf"
    return range(start + struct.unpack_from(">H", header, 5)[0], start + page_size)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = x'00' WHERE position = 2",
        "UPDATE events SET record_time = 0 WHERE position = 2",
        "UPDATE events SET type = 77 WHERE position = 2",
        "UPDATE events SET stream = 77 WHERE position = 2",
        "UPDATE events SET owner_id = 'mallory' WHERE position = 2",
        "UPDATE events SET actor = 'key:mallory' WHERE position = 2",
        "UPDATE events SET request_id = NULL WHERE position = 2",
        "UPDATE events SET revision = 7 WHERE position = 2",
        "UPDATE types SET name = 'openbank.accounts.v1.MoneyWithdrawn'",
        "UPDATE streams SET name = 'account-2'",
        "DELETE FROM events WHERE position = 2",
    ],
)
async def test_a_changed_event_is_reported(store: SqliteEventStore, tmp_path: Path, damage: str) -> None:
    for revision in range(3):
        await store.append("account-1", revision, [a_deposit()])
    await store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(damage)
    connection.close()
    # Where it is that of the last stop, by the start.
    with pytest.raises((StoreDamaged, StoreRefused)):
        await _read_again(tmp_path)


async def _read_again(directory: Path) -> None:
    again = SqliteEventStore(directory)
    try:
        await whole_log(again)
    finally:
        await again.close()


# Whose file it is


async def test_a_new_log_is_another_banks(tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        store = SqliteEventStore(tmp_path / name)
        ids |= {store.bank_id, store.store_id}
        await store.close()
    assert len(ids) == 4


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as theirs:
        theirs.execute("CREATE TABLE secrets (secret TEXT)")
    theirs.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreRefused, match="another program"):
        SqliteEventStore(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


async def test_a_newer_versions_log_is_refused(store: SqliteEventStore, tmp_path: Path) -> None:
    await store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreRefused, match="newer version"):
        SqliteEventStore(tmp_path)


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("Dear John, " * 100)
    with pytest.raises(StoreRefused, match="not a database"):
        SqliteEventStore(tmp_path)


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="can't be created"):
        SqliteEventStore(tmp_path / "nowhere")


async def test_a_directory_may_be_relative_and_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Path("50% of #1? ü")
    (tmp_path / directory).mkdir()
    store = SqliteEventStore(directory)
    await store.append("account-1", NO_STREAM, some_events())
    assert len(await whole_log(store)) == 1
    backup(directory, directory / "copy")
    await store.close()
    assert (tmp_path / directory / FILE).exists()


async def test_a_time_is_looked_for_slice_by_slice_so_that_others_have_their_turn(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "SCAN_STEP", 10)
    for revision in range(100):
        await store.append("account-1", revision, some_events(time=TIME + revision))
    looking = asyncio.ensure_future(store.position_at(TIME + 95))
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 100 / 10 - 1
    assert (await looking).position == 95


async def test_an_event_that_is_appended_while_its_time_is_looked_for_is_not_passed(
    store: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "SCAN_STEP", 1)
    for revision in range(20):
        await store.append("account-1", revision, some_events(time=TIME))
    looking = asyncio.ensure_future(store.position_at(TIME + 1))
    await asyncio.sleep(0)
    await store.append("account-2", NO_STREAM, some_events(time=TIME + 1))
    assert (await looking).position == 20

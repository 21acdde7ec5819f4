"""`openbank verify` finds what is wrong with what is on disk, says so, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from openbank import sqlite_wal
from openbank.app import serving
from openbank.codec import events as codec
from openbank.config import Settings
from openbank.domain.account_events import AccountOpened, MoneyDeposited
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import LogFile, SqliteEventStore, log_file
from openbank.upkeep.verify import verify
from tests.callers import Caller
from tests.callers import usd as usd_message
from tests.examples import usd
from tests.servers import ServerProcess, run_openbank


@pytest.fixture
async def bank(tmp_path: Path) -> Path:
    """The directory of a bank with two accounts, a dozen events and views that are up with them; it has stopped."""
    directory = tmp_path / "data"
    async with serving(Settings(listen="127.0.0.1:0", data=directory)) as server, Caller(server.address) as caller:
        await lead_a_life(caller)
    return directory


async def lead_a_life(caller: Caller) -> None:
    owner = (await caller.register(person_id="john")).person.person_id
    for number in (1, 2):
        await caller.open(owner, account_id=f"a{number}", account_number=f"N{number}", initial_deposit=usd_message("5"))
    for _ in range(3):
        paid = await caller.deposit("a1", "1")
    await caller.balance("a1", paid.consistency_token)


def alter(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


async def test_a_sound_bank_has_no_fault(bank: Path) -> None:
    report = await verify(Settings(data=bank))
    assert report.fault_count == 0
    assert report.lines == [
        "log: 8 events, 1 persons, 2 accounts; it ends at position 8",
        "money: 13.00 USD paid in, 0.00 USD paid out, 13.00 USD on accounts",
        "views: as of position 8, compared with rebuilt views",
    ]


async def test_a_served_bank_and_a_killed_bank_have_no_fault(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as caller:
        await lead_a_life(caller)
        writing = asyncio.create_task(caller.deposit_until_gone("a1", {}))
        for _ in range(3):
            code, out, err = await run_openbank("verify", "--data", str(tmp_path / "data"))
            assert (code, err) == (0, "")
            assert out.endswith("no fault\n")
        await process.kill()
        await writing
    before = contents(tmp_path / "data")
    code, out, err = await run_openbank("verify", "--data", str(tmp_path / "data"))
    assert (code, err) == (0, "")
    assert contents(tmp_path / "data") == before
    await process.start()


def contents(directory: Path) -> dict[str, bytes]:
    """But for what SQLite makes for readers: shared memory, and an empty WAL where there is none."""
    files = {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}
    return {name: content for name, content in files.items() if content}


async def test_a_start_with_a_damaged_record_of_what_is_quarantined_is_one_line(bank: Path) -> None:
    alter(bank / "events.db", "INSERT INTO quarantine VALUES (1, 1, x'7b7d', 0)")
    code, out, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(bank))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "what is quarantined is damaged; restore a backup: openbank restore" in err


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("events.db", "UPDATE events SET data = x'00' WHERE position = 7", "position 7 is not what was written"),
        (
            "events.db",
            "UPDATE events SET correlation_id = 'x' WHERE position = 7",
            "position 7 is not what was written",
        ),
        ("events.db", "UPDATE streams SET name = 'account-3' WHERE name = 'account-a2'", "is not what was written"),
        ("events.db", "DELETE FROM streams WHERE name = 'account-a2'", "is not what was written"),
        ("events.db", "DELETE FROM types WHERE name LIKE '%AccountOpened%'", "is not what was written"),
        ("events.db", "DELETE FROM events WHERE position = 6", "position 7 follows 5"),
        ("events.db", "DELETE FROM events WHERE position = 6", "revision 3 comes where 2 was expected"),
        ("events.db", "DELETE FROM events WHERE position = 8", "had come to 8 when it was last stopped"),
        ("events.db", "DELETE FROM events WHERE position = 8", "the views are of 8"),
        ("events.db", "DELETE FROM events WHERE position = 1", "owned by nobody who is registered"),
        ("events.db", "INSERT INTO quarantine VALUES (1, 1, x'7b7d', 0)", "record of what is quarantined is damaged"),
        ("views.db", "UPDATE accounts SET balance = 1 WHERE account_id = 'a1'", "views: 2 rows of accounts"),
        ("views.db", "DELETE FROM account_events WHERE revision = 2", "views: 1 rows of account_events"),
        ("views.db", "UPDATE persons SET email = ''", "views: 2 rows of persons"),
        ("views.db", "PRAGMA user_version = 99", "format 99"),
    ],
)
async def test_damage_is_found(bank: Path, file: str, damage: str, told: str) -> None:
    alter(bank / file, damage)
    before = contents(bank)
    code, out, err = await run_openbank("verify", "--data", str(bank))
    assert (code, err) == (1, "")
    assert told in out
    assert "faults\n" in out
    assert contents(bank) == before


async def test_an_index_that_has_lost_a_request_is_found(bank: Path) -> None:
    with closing(sqlite3.connect(bank / "events.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = sql || ' AND revision > 99' WHERE name = 'events_request'")
    report = await verify(Settings(data=bank))
    assert any("events_request" in fault for fault in report.faults)


def metadata(owner_id: str = "john", request_id: bytes = b"", part: int = 0, parts: int = 1) -> Metadata:
    return Metadata(1_000_000, request_id, b"h" * 16 if request_id else b"", owner_id=owner_id, part=part, parts=parts)


def deposit(cents: int, balance: int, meta: Metadata | None = None) -> NewEvent:
    event = MoneyDeposited(usd(cents), "", usd(balance))
    return NewEvent(uuid4().bytes, *codec.encode(event), meta or metadata())


def opening(account_id: str, number: str, owner_id: str = "john") -> NewEvent:
    event = AccountOpened(account_id, owner_id, number, usd(0))
    return NewEvent(uuid4().bytes, *codec.encode(event), metadata(owner_id))


TWICE = uuid4().bytes
STEP = metadata(request_id=TWICE)._replace(request_hash=b"")
"""The metadata of a request that the bank made for itself."""
WRONG: dict[str, tuple[str, int, Sequence[NewEvent], str]] = {
    "an amount that is not in the balance": (
        "account-a2", 1, [deposit(100, 500)], "is not the balance before it and its amount",
    ),
    "money from nowhere": ("account-a2", 1, [deposit(100, 100_000)], "does not follow"),
    "an amount below zero": ("account-a2", 1, [deposit(-100, 400)], "moves nothing, or less"),
    "one step of the bank's own done twice": (
        "account-a2", 1, [deposit(1, 501, STEP), deposit(1, 502, STEP)], "2 events of request",
    ),
    "one request done twice": (
        "account-a2", 1,
        [deposit(1, 501, metadata(request_id=TWICE)), deposit(1, 502, metadata(request_id=TWICE))],
        "2 events of request",
    ),
    "half an append": ("account-a2", 1, [deposit(1, 501, metadata(part=0, parts=2))], "ends within an append"),
    "an append without a beginning": ("account-a2", 1, [deposit(1, 501, metadata(part=1, parts=2))], "no beginning"),
    "a number that is taken": ("account-a3", 0, [opening("a3", "n 1")], "has the number of account a1"),
    "an owner who is nobody": ("account-a3", 0, [opening("a3", "N3", "jane")], "owned by nobody"),
    "an account that opens twice": ("account-a2", 1, [opening("a2", "N2")], "opens an account that is open"),
    "money before the account": ("account-a3", 0, [deposit(1, 1)], "before the account was opened"),
    "another owner's": ("account-a2", 1, [deposit(1, 501, metadata("jane"))], "under another owner"),
    "an unknown type": (
        "account-a2", 1, [NewEvent(uuid4().bytes, "openbank.accounts.v9.Gift", b"", metadata())], "its type is unknown",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_events_that_no_bank_writes_are_found(bank: Path, what: str) -> None:
    stream, expected_revision, events, told = WRONG[what]
    store = SqliteEventStore(bank)
    await store.append(stream, expected_revision, events)
    await store.close()
    report = await verify(Settings(data=bank))
    assert [fault for fault in report.faults if told in fault]


async def test_a_step_of_the_banks_own_may_have_the_id_of_a_callers_request(bank: Path) -> None:
    store = SqliteEventStore(bank)
    await store.append("account-a2", 1, [deposit(1, 501, metadata(request_id=TWICE)), deposit(1, 502, STEP)])
    await store.close()
    assert (await verify(Settings(data=bank))).fault_count == 0


async def test_events_after_one_that_does_not_follow_do_not_count(bank: Path) -> None:
    before = (await verify(Settings(data=bank))).lines
    store = SqliteEventStore(bank)
    await store.append("account-a2", 1, [deposit(100, 100_000), deposit(1, 100_001)])
    await store.close()
    report = await verify(Settings(data=bank))
    assert report.fault_count == 1
    assert [line for line in report.lines if line.startswith("money")] == [
        line for line in before if line.startswith("money")
    ]


async def test_the_first_of_many_faults_are_reported_and_all_are_counted(bank: Path) -> None:
    store = SqliteEventStore(bank)
    for number in range(200):
        await store.append(f"account-b{number}", 0, [deposit(100, 500)])
    await store.close()
    report = await verify(Settings(data=bank))
    assert report.fault_count == 200
    assert len(report.faults) == 50


async def test_without_a_log_there_is_nothing_to_verify(tmp_path: Path) -> None:
    code, out, err = await run_openbank("verify", "--data", str(tmp_path))
    assert (code, out) == (2, "")
    assert "is not there" in err


async def test_a_start_that_was_refused_is_one_line_and_a_loss_that_is_accepted_starts(bank: Path) -> None:
    alter(bank / "events.db", "DELETE FROM events WHERE position > 6")
    code, out, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(bank))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "2 events are lost; restore a backup: openbank restore --data" in err
    assert f"continue with what is left of the log: openbank accept-loss --data {bank}" in err
    code, out, err = await run_openbank("accept-loss", "--data", str(bank))
    assert (code, err) == (0, "")
    assert "ends at position 6" in out
    async with serving(Settings(listen="127.0.0.1:0", data=bank)) as server, Caller(server.address) as caller:
        paid = await caller.deposit("a1", "1")
        assert await caller.balance("a1", paid.consistency_token) == "7.00 USD"
    assert (await verify(Settings(data=bank))).fault_count == 0


async def test_a_loss_can_only_be_accepted_for_a_log_that_is_not_served(process: ServerProcess, tmp_path: Path) -> None:
    for directory, told in ((tmp_path, "is not there"), (tmp_path / "data", "is in use")):
        code, out, err = await run_openbank("accept-loss", "--data", str(directory))
        assert (code, out) == (2, "")
        assert told in err


async def test_an_interrupted_verification_leaves_no_files(bank: Path, tmp_path: Path) -> None:
    store = SqliteEventStore(bank)
    await store.append("account-a2", 1, [deposit(1, 501 + number) for number in range(5_000)])
    await store.close()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch), "SQLITE_TMPDIR": str(scratch)}
    for number, tenths in ((signal.SIGTERM, 4), (signal.SIGINT, 6), (signal.SIGKILL, 5), (signal.SIGKILL, 8)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openbank", "verify", "--data", str(bank)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        await asyncio.sleep(tenths / 10)
        assert not list(scratch.iterdir())
        if process.returncode is None:
            process.send_signal(number)
        await process.wait()
        assert not list(scratch.iterdir())


async def test_reading_does_not_keep_the_wal_from_restarting(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "SLICE", 3)
    store = SqliteEventStore(bank)
    await store.append("account-a2", 1, [deposit(1, 501), deposit(1, 502)])
    with closing(LogFile(bank)) as log, closing(sqlite3.connect(bank / "events.db", timeout=0)) as other:
        events = log.events(0)
        first = next(events)
        assert not sqlite_wal.checkpoint(other, "TRUNCATE").is_whole
        await store.append("account-a2", 3, [deposit(1, 503)])
        read = [first, *events]
        assert sqlite_wal.checkpoint(other, "TRUNCATE").is_whole
    # What was written while it was read is in it: the first three were in a transaction of their own.
    assert [event.position for event in read if not isinstance(event, str)] == list(range(1, 12))
    await store.close()

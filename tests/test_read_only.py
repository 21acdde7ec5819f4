"""What only reads a bank needs no write permission for it, and otherwise says what it needs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import Settings
from openbank.eventstore.sqlite import backup
from openbank.sqlite_file import Unreadable
from openbank.upkeep.restore import restore
from openbank.upkeep.verify import verify
from tests.callers import Caller
from tests.eventstore.files import contents, events_in, put_back

NOBODY = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that any user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="openbank-read-only-"))
    directory.chmod(0o755)
    yield directory
    if os.getuid() == 0:
        os.seteuid(0)
    for path in (directory, *directory.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(directory)


async def a_bank(place: Path, *, killed: bool = False) -> Path:
    data = place / "data"
    async with serving(Settings(listen="127.0.0.1:0", data=data)) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        paid = await bank.deposit(account_id, "1")
        await bank.balance(account_id, paid.consistency_token)
        left = contents(data)
    if killed:
        put_back(data, left)
    return data


def take_permission(data: Path) -> None:
    """To write. Root needs none, so that it becomes somebody else."""
    for path in (*data.iterdir(), data):
        path.chmod(0o500 if path.is_dir() else 0o400)
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    if os.getuid() == 0:
        os.seteuid(NOBODY)


async def test_a_bank_that_was_stopped_is_verified_and_backed_up(place: Path) -> None:
    data = await a_bank(place)
    # Loads what a user without a home may not.
    await verify(Settings(data=data))
    for name in ("events.db-shm", "events.db-wal", "views.db-shm", "views.db-wal"):
        (data / name).unlink(missing_ok=True)
    before = contents(data)
    (place / "copies").mkdir()
    (place / "copies").chmod(0o777)
    take_permission(data)
    report = await verify(Settings(data=data))
    assert report.faults == []
    assert report.lines[-1] == "views: as of position 4, compared with rebuilt views"
    backup(data, place / "copies" / "copy.db")
    if os.getuid() == 0:
        os.seteuid(0)
    assert contents(data) == before
    restore(place / "restored", place / "copies" / "copy.db")
    assert await events_in(place / "restored") == 4


async def test_a_bank_that_was_verified_since_it_was_stopped_is_too(place: Path) -> None:
    """SQLite leaves an empty WAL and shared memory behind."""
    data = await a_bank(place)
    await verify(Settings(data=data))
    take_permission(data)
    assert (await verify(Settings(data=data))).faults == []


async def test_a_bank_that_was_killed_needs_permission(place: Path) -> None:
    data = await a_bank(place, killed=True)
    (place / "copies").mkdir()
    (place / "copies").chmod(0o777)
    take_permission(data)
    for read in (verify(Settings(data=data)), _backup(data, place / "copies" / "copy.db")):
        with pytest.raises(Unreadable, match=rf"has a WAL, .* write permission for {data}: copy the whole directory"):
            await read


async def _backup(data: Path, file: Path) -> None:
    backup(data, file)


async def test_a_backup_without_permission_for_its_directory_is_refused(place: Path) -> None:
    data = await a_bank(place)
    take_permission(data)
    with pytest.raises(PermissionError):
        backup(data, place / "copy.db")

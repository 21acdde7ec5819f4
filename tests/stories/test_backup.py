"""A backup of the embedded store is a bank of its own. EventStoreDB has backups of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, usd
from tests.servers import ServerProcess, run_openbank


@pytest.fixture
def back_end() -> BackEnd:
    return BackEnd()


async def test_a_backup_made_under_writes_is_a_bank_of_its_own(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as bank:
        account_id = (await bank.open(initial_deposit=usd("1"))).account.account_id
        before = await bank.deposit(account_id, "1")
        acknowledged: dict[str, str] = {}
        writing = asyncio.create_task(bank.deposit_until_gone(account_id, acknowledged))
        copy = tmp_path / "copy.db"
        code, out, err = await run_openbank("backup", str(copy), "--data", str(tmp_path / "data"))
        assert (code, err) == (0, "")
        assert str(copy) in out
        await process.kill()
        await writing
        late = before.consistency_token

    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(copy, restored / "events.db")
    async with serving(Settings(listen="127.0.0.1:0", data=restored)) as server, Caller(server.address) as bank:
        request = accounts.GetAccountRequest(account_id=account_id, consistency_token=late)
        assert (await bank.accounts.GetAccount(request)).account.revision >= 2
        events = await bank.account_events()
        assert [event.revision for event in events] == list(range(1, len(events) + 1))
        assert (await bank.deposit(account_id, "1")).account.revision == len(events) + 1


async def test_a_backup_is_restored_over_a_bank_that_was_killed(process: ServerProcess, tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
        for _ in range(5):
            paid = await bank.deposit(account_id, "10")
        await run_openbank("backup", str(copy), "--data", str(data))
        for _ in range(3):
            await bank.deposit(account_id, "10")
        code, _, err = await run_openbank("restore", str(copy), "--data", str(data))
        assert (code, err.count("\n")) == (2, 1)
        assert "is in use by process" in err
    await process.kill()

    # Moved over the log, it would get the log's WAL, and is saved from it.
    moved = shutil.copy(copy, tmp_path / "moved.db")
    os.rename(data / "events.db", tmp_path / "log.db")
    os.rename(moved, data / "events.db")
    code, _, err = await run_openbank("serve", "--data", str(data), "--listen", "127.0.0.1:0")
    assert (code, err.count("\n")) == (2, 1)
    assert f"restore from it or from a backup: openbank restore --data {data} FILE" in err

    os.rename(tmp_path / "log.db", data / "events.db")
    code, out, err = await run_openbank("restore", str(copy), "--data", str(data))
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert f"{data} has the 8 events of {copy}, the last of " in first
    assert f"what was there before is in {data}/before-restore-" in second
    await process.start()
    async with Caller(process.address) as bank:
        request = accounts.GetAccountRequest(account_id=account_id, consistency_token=paid.consistency_token)
        assert (await bank.accounts.GetAccount(request)).account.revision == 6
        assert (await bank.deposit(account_id, "10")).account.revision == 7
    await process.stop()
    for directory in (data, second.rpartition(" ")[2]):
        code, out, _ = await run_openbank("verify", "--data", str(directory))
        assert (code, out.splitlines()[-1]) == (0, "no fault")


async def test_a_token_from_after_the_backup_is_out_of_range_in_the_restored_bank(
    settings: Settings, tmp_path: Path
) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
    shutil.copytree(settings.data, tmp_path / "older")
    async with serving(settings) as server, Caller(server.address) as bank:
        newer = (await bank.deposit(account_id, "1")).consistency_token
    shutil.rmtree(settings.data)
    shutil.copytree(tmp_path / "older", settings.data)

    async with serving(settings) as server, Caller(server.address) as bank:
        watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(resume_token=newer))
        told = await refused(watch.read())
        assert told.code is StatusCode.OUT_OF_RANGE
        assert told.reason == "POSITION_OUT_OF_RANGE"


async def test_one_of_two_backups_at_once_to_one_file_succeeds(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as bank:
        await bank.open()
    command = ("backup", str(tmp_path / "copy.db"), "--data", str(tmp_path / "data"))
    (first, _, told), (second, _, told_too) = await asyncio.gather(run_openbank(*command), run_openbank(*command))
    assert sorted((first, second)) == [0, 2]
    assert (told + told_too).count("\n") == 1
    assert (tmp_path / "copy.db").stat().st_size > 0
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "data"]


@pytest.mark.parametrize(
    ("data", "file", "told"),
    [
        ("nothing", "copy.db", "nothing/events.db is not there"),
        ("data", "missing/copy.db", "there is no directory"),
        ("data", "data", "data exists"),
    ],
)
async def test_a_backup_that_cannot_be_made_is_one_line(
    settings: Settings, tmp_path: Path, data: str, file: str, told: str
) -> None:
    async with serving(settings):
        pass
    code, out, err = await run_openbank("backup", str(tmp_path / file), "--data", str(tmp_path / data))
    assert (code, out) == (2, "")
    assert err.startswith("openbank: no backup was made: ")
    assert told in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["data"]

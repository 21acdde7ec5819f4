"""Only its owner can read the files of a bank, with any umask, and in a directory that another user has made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbank.datadir import DataDirectory
from openbank.eventstore.sqlite import SqliteEventStore
from tests.callers import Caller
from tests.servers import ServerProcess, run_openbank


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(directory: Path) -> list[str]:
    return [path.name for path in (directory, *directory.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


@pytest.mark.usefixtures("umask")
async def test_every_file_of_a_bank_is_private(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(0o700)
    data = kept / "data"
    process = ServerProcess(data, "--sink", "crm=http://127.0.0.1:9/")
    await process.start()
    async with Caller(process.address) as bank:
        paid = await bank.deposit((await bank.open()).account.account_id, "1")
        await bank.balance(paid.account.account_id, paid.consistency_token)
        await run_openbank("backup", str(kept / "copy.db"), "--data", str(data))
        tail = ("tail", "accounts", "--from", "beginning", "--until-caught-up", "--target", process.address)
        await run_openbank(*tail, "--resume", str(kept / "resume"))
    names = {path.name for path in data.iterdir()}
    assert {"events.db", "events.db-wal", "events.db-shm", "views.db", "views.db-wal", "sinks.db", "lock"} <= names
    assert open_to_others(kept) == []
    await process.stop()
    assert (data / "clean-stop").exists()
    assert {path.name for path in kept.iterdir()} == {"data", "copy.db", "resume"}
    assert open_to_others(kept) == []


async def test_a_start_makes_files_of_an_earlier_version_private_and_logs_it(
    process: ServerProcess, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    await process.kill()
    data.chmod(0o755)
    for path in data.iterdir():
        path.chmod(0o644)
    (data / "notes").touch(0o644)
    await process.start()
    assert open_to_others(data) == ["notes"]
    [told] = [line for line in process.lines if "private" in line["message"]]
    assert told["directory"] == str(data)


def test_a_directory_that_is_somebody_elses_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis").touch()
    DataDirectory(tmp_path, "tests").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


async def test_a_log_behind_a_link_is_served_from_where_it_is(process: ServerProcess, tmp_path: Path) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    disk.mkdir()
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
    await process.stop()
    (data / "events.db").rename(disk / "log")
    (data / "events.db").symlink_to(disk / "log")
    await process.start()
    async with Caller(process.address) as bank:
        paid = await bank.deposit(account_id, "1")
        assert (data / "events.db").is_symlink()
        assert (disk / "log-wal").stat().st_size > 0
        assert open_to_others(disk) == ["disk"]
        code, out, err = await run_openbank("verify", "--data", str(data))
        assert (code, err) == (0, ""), out
        code, _, err = await run_openbank("backup", str(tmp_path / "copy.db"), "--data", str(data))
        assert (code, err) == (0, "")
    await process.kill()
    await process.start()
    async with Caller(process.address) as bank:
        assert await bank.balance_in_the_end(account_id, paid.consistency_token) == "1.00 USD"


async def test_one_of_two_data_directories_that_lead_to_one_log_is_served(
    process: ServerProcess, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir(0o700)
    (other / "events.db").symlink_to(tmp_path / "data" / "events.db")
    async with Caller(process.address) as bank:
        code, out, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(other))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "in use by a bank with another data directory" in err
        assert (await run_openbank("accept-loss", "--data", str(other)))[0] == 2
        await bank.register()


async def test_a_log_of_another_bank_than_the_views_is_refused(process: ServerProcess, tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    async with Caller(process.address) as bank:
        await bank.register()
    await process.stop()
    other.mkdir()
    await SqliteEventStore(other).close()
    before = (data / "views.db").read_bytes()
    (other / "events.db").replace(data / "events.db")
    code, out, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(data))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "these views belong to the bank" in err
    assert (data / "views.db").read_bytes() == before
    (data / "views.db").unlink()
    await process.start()

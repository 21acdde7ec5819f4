"""Readers of a bank's files, which keep SQLite from its checkpoints: nothing acknowledged is lost because of them."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from grpc.aio import AioRpcError

from openbank import sqlite_wal
from openbank.eventstore.sqlite.wal import EXIT_SYNC_FAILED
from tests.callers import Caller, refused
from tests.disk import journal
from tests.disk.campaign import log_of
from tests.disk.journal import Disk
from tests.disk.layer import Layer
from tests.readers import Shell
from tests.servers import ServerProcess

EVENTS, EVENTS_WAL = "/events.db", "/events.db-wal"
CUTS = 12


@pytest.fixture
async def process(layer: Layer) -> AsyncIterator[ServerProcess]:
    """A bank that makes a checkpoint every few events."""
    process = ServerProcess(layer.root / "data", environment=layer.environment, module="tests.disk.bank")
    await process.start()
    yield process
    await process.stop()


async def deposits(process: ServerProcess, account_id: str, count: int) -> set[str]:
    """The ids of the events that were acknowledged."""
    async with Caller(process.address) as bank:
        return {(await bank.deposit(account_id, "1")).event_id for _ in range(count)}


async def deposits_until_gone(process: ServerProcess, account_id: str) -> set[str]:
    acknowledged = set[str]()
    async with Caller(process.address) as bank:
        for _ in range(50):
            try:
                acknowledged.add((await bank.deposit(account_id, "1")).event_id)
            except AioRpcError:
                return acknowledged
    raise AssertionError("the bank has not ended")


async def an_account(process: ServerProcess) -> str:
    async with Caller(process.address) as bank:
        return str((await bank.open()).account.account_id)


async def assert_there_after_a_loss_of_power(layer: Layer, acknowledged: set[str], directory: Path) -> None:
    records = list(journal.read(layer.journal))
    for seed in range(CUTS):
        disk = Disk(layer.root, Random(seed))
        for record in records:
            if record.operation != journal.TOLD:
                disk.apply(record)
        left = directory / f"left-{seed}"
        disk.cut(left)
        found = {event.id.hex() for event in await log_of(left)}
        assert {event_id.replace("-", "") for event_id in acknowledged} <= found


@pytest.mark.parametrize("file", [EVENTS_WAL, EVENTS])
async def test_after_a_failed_sync_a_start_beside_a_reader_loses_nothing(
    layer: Layer, process: ServerProcess, tmp_path: Path, file: str
) -> None:
    account_id = await an_account(process)
    acknowledged = await deposits(process, account_id, 8)
    async with Shell(layer.root / "data" / "events.db", layer.environment) as shell:
        # Checkpoints write to the database what the reader does not need, and sync it only once they have all.
        acknowledged |= await deposits(process, account_id, 12)
        if file == EVENTS:
            await shell.rest()
        with layer.failing("s", errno.EIO, file, times=1):
            acknowledged |= await deposits_until_gone(process, account_id)
            assert await process.ended() == EXIT_SYNC_FAILED
        await process.start()
        [told] = [line for line in process.lines if "written again" in line["message"]][-1:]
        assert told["held_by"].startswith(f"process {shell.pid} ")
        acknowledged |= await deposits(process, account_id, 10)
        await process.kill()
    await assert_there_after_a_loss_of_power(layer, acknowledged, tmp_path)


async def test_after_a_kill_a_start_beside_a_reader_loses_nothing(
    layer: Layer, process: ServerProcess, tmp_path: Path
) -> None:
    account_id = await an_account(process)
    async with Shell(layer.root / "data" / "events.db", layer.environment):
        acknowledged = await deposits(process, account_id, 8)
        with layer.failing("s", errno.EIO, EVENTS_WAL, times=1):
            async with Caller(process.address) as bank:
                await refused(bank.deposit(account_id, "1"))
            await process.ended()
        for _ in range(2):
            await process.start()
            acknowledged |= await deposits(process, account_id, 4)
            await process.kill()
    await assert_there_after_a_loss_of_power(layer, acknowledged, tmp_path)


async def test_a_start_beside_a_reader_needs_no_page_that_no_checkpoint_has_written(tmp_path: Path) -> None:
    """A page that is new in what the reader lets a checkpoint copy, and has changed since, is not in the database."""
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None)) as writer:
        sqlite_wal.use_wal(writer)
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE things (value BLOB)")
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("INSERT INTO things VALUES (zeroblob(40000))")
        async with Shell(tmp_path / "file"):
            for _ in range(3):
                writer.execute("UPDATE things SET value = randomblob(40000)")
            assert not sqlite_wal.checkpoint(writer, "PASSIVE").is_whole
            files = sqlite_wal.WalFiles(tmp_path / "file")
            sqlite_wal.make_durable(writer, files)
            writer.close()
            files.close()

"""Another process locks a bank's files, or reads them for long: callers are answered meanwhile, and nothing stays."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from openbank import sqlite_wal
from openbank.app import serving
from openbank.config import Settings
from tests.callers import Caller, refused, request_id
from tests.servers import ServerProcess

STALL_SECONDS_MAX = 2.0
"""Less than SQLite's busy wait of 5 s, and more than a busy machine needs for an answer."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@asynccontextmanager
async def healthy(bank: Caller) -> AsyncIterator[None]:
    """Asks for health all the time, each time for an answer before long."""
    health: Any = health_pb2_grpc.HealthStub(bank.channel)

    async def ask() -> None:
        while True:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=STALL_SECONDS_MAX)
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask())
    yield
    assert not asking.done(), asking.exception()
    asking.cancel()


async def test_while_the_log_is_locked_only_writes_are_unavailable(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
        names = [request_id() for _ in range(5)]
        async with healthy(bank):
            with locked(tmp_path / "data" / "events.db"):
                told = await asyncio.gather(
                    *(refused(bank.deposit(account_id, "1", request_id=name)) for name in names)
                )
                assert {(one.code, one.reason) for one in told} == {(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")}
                assert await bank.balance(account_id) == "0.00 USD"
            for name in names:
                paid = await bank.deposit(account_id, "1", request_id=name)
            assert await bank.balance(account_id, paid.consistency_token) == "5.00 USD"


async def test_a_short_lock_of_the_log_is_waited_for(process: ServerProcess, tmp_path: Path) -> None:
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
        with locked(tmp_path / "data" / "events.db"):
            paying = asyncio.ensure_future(bank.deposit(account_id, "1"))
            await asyncio.sleep(0.1)
            assert not paying.done()
        assert (await paying).account.revision == 2


async def test_commands_continue_while_the_views_are_locked_and_the_views_catch_up(
    process: ServerProcess, tmp_path: Path
) -> None:
    async with Caller(process.address) as bank:
        opened = await bank.open()
        account_id = opened.account.account_id
        await bank.balance(account_id, opened.consistency_token)
        async with healthy(bank):
            with locked(tmp_path / "data" / "views.db"):
                for _ in range(20):
                    paid = await bank.deposit(account_id, "1")
                await asyncio.sleep(1)
                await bank.balance(account_id)
            assert await bank.balance_in_the_end(account_id, paid.consistency_token) == "20.00 USD"


@pytest.mark.parametrize("name", ["events.db", "views.db"])
async def test_a_wal_that_a_reader_let_grow_is_small_once_it_is_gone_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setattr(sqlite_wal, "BYTES_MAX", 1 << 20)
    monkeypatch.setattr(sqlite_wal, "SHRINK_SECONDS", 0.05)
    caplog.set_level("INFO")
    data = tmp_path / "data"
    async with serving(Settings(listen="127.0.0.1:0", data=data)) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        with closing(sqlite3.connect(data / name, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            while not said(caplog, "WAL grows", name):
                await asyncio.gather(*(bank.deposit(account_id, "1", description="x" * 400) for _ in range(64)))
            assert (data / f"{name}-wal").stat().st_size > 1 << 20
            reader.execute("COMMIT")
        while not said(caplog, "WAL is small again", name):  # noqa: ASYNC110 - a line in the log
            await asyncio.sleep(0.01)
        assert (data / f"{name}-wal").stat().st_size <= 1 << 20
        await bank.deposit(account_id, "1")


def said(caplog: pytest.LogCaptureFixture, message: str, name: str) -> bool:
    lines = [vars(record)["values"] for record in caplog.records if record.message == message]
    return any(str(values["file"]).endswith(f"{name}-wal") for values in lines)

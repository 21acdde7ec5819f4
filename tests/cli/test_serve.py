"""`openbank serve` and signals. As process 1 of a container it has no defaults to fall back on: what counts is that a
handler ends it, with an exit code, and not the system."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from openbank.cli.serve import _Told
from openbank.config import Settings
from tests.callers import Caller, until
from tests.servers import ServerProcess

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
EXIT_SECONDS_MAX = 10


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("store", ["--event-store=esdb://{}?Tls=false", "--views=mongodb://{}/bank"])
async def test_a_signal_ends_a_bank_that_waits_for_its_stores(
    number: signal.Signals, store: str, silent: str, tmp_path: Path
) -> None:
    bank = ServerProcess(tmp_path / "data", store.format(silent))
    await bank.launch()
    await until(lambda: any("waiting" in line["message"] for line in bank.lines), seconds_max=20)
    bank.tell(number)
    assert await asyncio.wait_for(bank.ended(), EXIT_SECONDS_MAX) == 128 + number
    assert [line["signal"] for line in bank.said("stopped before it was ready")] == [number.name]
    assert bank.other_output == []


async def test_a_signal_ends_a_bank_from_its_first_moment_of_listening(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    bank = ServerProcess(tmp_path / "data", listen=f"127.0.0.1:{address[1]}")
    await bank.launch()
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(*address)
                break
            except OSError:
                await asyncio.sleep(0.001)
    bank.tell(signal.SIGTERM)
    assert await asyncio.wait_for(bank.ended(), EXIT_SECONDS_MAX) in {0, 128 + signal.SIGTERM}
    assert bank.other_output == []
    writer.close()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
async def test_each_signal_stops_a_bank_that_serves(number: signal.Signals, process: ServerProcess) -> None:
    process.tell(number)
    assert await asyncio.wait_for(process.ended(), EXIT_SECONDS_MAX) == 0
    assert [line["signal"] for line in process.said("stopping")] == [number.name]
    assert process.said("stopped")
    assert process.other_output == []


async def test_sighup_stays_ignored_under_nohup(tmp_path: Path) -> None:
    bank = ServerProcess(tmp_path / "data")
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await bank.start()
    finally:
        signal.signal(signal.SIGHUP, former)
    bank.tell(signal.SIGHUP)
    await asyncio.sleep(0.2)
    assert not bank.said("stopping")
    assert await bank.stop() == 0


async def test_a_hang_up_does_not_cut_a_drain_short() -> None:
    former = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        told = _Told(Settings())
        told.is_started(lambda: None)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(told.to_stop.wait(), EXIT_SECONDS_MAX)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def views_that_cannot_catch_up(data: Path) -> Iterator[None]:
    """A lock keeps them where they are."""
    with closing(sqlite3.connect(data / "views.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
async def behind(tmp_path: Path) -> Path:
    """The data of a bank with older views."""
    data, older = tmp_path / "data", tmp_path / "older.db"
    bank = ServerProcess(data)
    for _ in range(2):
        await bank.start()
        async with Caller(bank.address) as caller:
            await caller.open()
        await bank.stop()
        if not older.exists():
            shutil.copy(data / "views.db", older)
    shutil.move(older, data / "views.db")
    return data


async def test_a_bank_is_ready_only_once_its_views_have_caught_up(behind: Path) -> None:
    bank = ServerProcess(behind)
    with views_that_cannot_catch_up(behind):
        await bank.start()
        [listening] = bank.said("listening")
        assert listening["not_serving"] == "openbank.queries"
        assert listening["listen"] == bank.address
        async with Caller(bank.address) as caller:
            await caller.open()
        assert not bank.said("ready")
    await until(lambda: bool(bank.said("ready")), seconds_max=20)
    assert await bank.stop() == 0


async def test_a_start_reports_what_it_waits_for_and_when_the_bank_is_ready(behind: Path) -> None:
    arguments = ("-m", "openbank", "serve", "--listen", "127.0.0.1:0", "--data", str(behind))
    bank = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert bank.stdout is not None
    with views_that_cannot_catch_up(behind):
        starting = [(await asyncio.wait_for(bank.stdout.readline(), 20)).decode() for _ in range(4)]
    ready = [(await asyncio.wait_for(bank.stdout.readline(), 20)).decode() for _ in range(4)]
    bank.send_signal(signal.SIGTERM)
    assert await bank.wait() == 0
    assert starting[0].endswith(" is starting.\n")
    assert starting[3] == "  waits for   openbank.queries\n"
    assert ready[0].endswith(" is ready.\n")
    assert ready[1:3] == starting[1:3]
    assert ready[3].startswith("  try         grpcurl ")

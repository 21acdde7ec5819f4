"""`openbank serve` and signals. As process 1 of a container it has no defaults to fall back on: what counts is that a
handler ends it, with an exit code, and not the system."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.callers import until
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

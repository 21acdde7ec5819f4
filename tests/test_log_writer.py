"""Writing log lines never blocks the bank, even if standard error is blocked or closed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from openbank.log_writer import LogWriter
from tests.callers import Caller

CALLS = 2_000
"""Their lines are several times what a pipe holds."""
PATIENCE_SECONDS = 30


class Pipe(NamedTuple):
    reading: int
    writing: int


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield Pipe(reading, writing)
    os.close(reading)
    os.close(writing)


def dropped(count: int) -> str:
    return f"{count} lines were dropped"


def test_lines_are_written_in_order_and_all_of_them_before_the_end(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writing, dropped)
    for number in range(100):
        writer.write([f"{number} a", f"{number} b"])
    writer.flush()
    expected = "".join(f"{number} a\n{number} b\n" for number in range(100))
    assert os.read(pipe.reading, 1 << 16).decode() == expected


def test_lines_that_are_not_read_are_dropped_and_their_number_is_logged_later(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writing, dropped, waiting_length_max=100_000)
    lines = [f"{number:0999}" for number in range(1_000)]
    for line in lines:
        writer.write([line])

    with ThreadPoolExecutor(1) as reader:
        text = reader.submit(_read_to, pipe, b"the last\n")
        writer.flush()
        writer.write(["the last"])
    *told, last, _ = text.result().decode().split("\n")
    # More than one stretch may be, where the pipe took some meanwhile. Each is counted in its place.
    notices = 0
    at = 0
    for line in told:
        if line.endswith(" lines were dropped"):
            notices += 1
            at += int(line.split()[0])
        else:
            assert line == lines[at]
            at += 1
    assert (at, last) == (len(lines), "the last")
    assert notices


def _read_to(pipe: Pipe, end: bytes) -> bytes:
    text = b""
    while not text.endswith(end):
        text += os.read(pipe.reading, 1 << 16)
    return text


def test_a_descriptor_that_does_not_block_is_written_to_as_well(pipe: Pipe) -> None:
    """A terminal or a pipe is made so for all who have it."""
    os.set_blocking(pipe.writing, False)
    size = fcntl.fcntl(pipe.writing, fcntl.F_GETPIPE_SZ)
    writer = LogWriter(pipe.writing, dropped)
    writer.write(["x" * 2 * size])
    taken = 0
    while taken < 2 * size + 1:
        taken += len(os.read(pipe.reading, size))
    writer.flush()
    assert taken == 2 * size + 1


def test_a_reader_that_has_gone_is_not_an_error(pipe: Pipe) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing, dropped)
    writer.write(["nobody is there"])
    writer.flush()
    os.dup2(pipe.writing, writing)
    writer.write(["somebody is"])
    writer.flush()
    os.close(writing)
    assert os.read(pipe.reading, 1 << 16).decode() == "1 lines were dropped\nsomebody is\n"


async def test_a_bank_whose_log_is_not_read_serves_and_stops(tmp_path: Path, pipe: Pipe) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"),
        stdout=asyncio.subprocess.PIPE, stderr=pipe.writing,
    )  # fmt: skip
    address = await _address(process)
    async with asyncio.timeout(PATIENCE_SECONDS), Caller(address) as bank:
        account_id = (await bank.open()).account.account_id
        for _ in range(CALLS // 50):
            await asyncio.gather(*[bank.balance(account_id) for _ in range(50)])
        process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while b"listens on" not in (line := await process.stdout.readline()):
            pass
    return line.split()[-1].decode()

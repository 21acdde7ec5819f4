"""The examples do what they say, against a bank in a process of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.callers import Caller, usd
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SECONDS_MAX = 60


@asynccontextmanager
async def running(example: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """An example as a process, which is killed at the end of the block unless it has ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{example}.py"),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(example: str, *arguments: object) -> tuple[int | None, str]:
    """The exit code and standard output."""
    async with running(example, *arguments) as process:
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
        assert b"Traceback" not in errors, errors.decode()
        return process.returncode, output.decode().strip()


async def line_of(stream: asyncio.StreamReader | None) -> str:
    assert stream
    return (await asyncio.wait_for(stream.readline(), SECONDS_MAX)).decode().strip()


def rows_of(database: Path, query: str) -> list[tuple[Any, ...]]:
    """None before the example has made its tables."""
    with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):
        return connection.execute(query).fetchall()
    return []


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


def test_an_example_fits_on_a_page_and_is_linked_from_the_docs() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert len(names) == 3
    assert all(f"(../examples/{name})" in pages for name in names)
    assert all(len(path.read_text().splitlines()) < 80 for path in EXAMPLES.glob("*.py"))


async def test_a_withdrawal_is_sent_until_the_bank_is_back_and_made_once(
    process: ServerProcess, tmp_path: Path
) -> None:
    async with Caller(process.address) as bank:
        account_id = (await bank.open(initial_deposit=usd("1000"))).account.account_id
    address, payment = process.address, ("200.50", "USD", "--payment", uuid4())
    await process.kill()
    async with running("withdraw", address, account_id, *payment) as withdrawal:
        assert "again in" in await line_of(withdrawal.stderr)
        restarted = ServerProcess(tmp_path / "data", listen=address)
        await restarted.start()
        try:
            output, _ = await asyncio.wait_for(withdrawal.communicate(), SECONDS_MAX)
            assert (withdrawal.returncode, output.decode()) == (0, "paid, balance 799.5 USD\n")
            again = await run("withdraw", address, account_id, *payment)
            assert again == (0, "was paid before, balance 799.5 USD")
            code, refused = await run("withdraw", address, account_id, "800", "USD", "--payment", uuid4())
            assert code == 1
            assert refused.startswith("refused: INSUFFICIENT_FUNDS")
        finally:
            await restarted.stop()


async def test_a_consumer_that_is_killed_again_and_again_counts_every_deposit_once(
    process: ServerProcess, tmp_path: Path
) -> None:
    database, made = tmp_path / "deposits.db", 0

    def counted() -> int:
        return sum(count for (count,) in rows_of(database, "SELECT count FROM deposits"))

    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id

        async def deposit(consumers: asyncio.Task[None]) -> None:
            nonlocal made
            while not consumers.done():
                await bank.deposit(account_id, "1.25")
                made += 1

        async def consume() -> None:
            before = 0
            for _ in range(3):
                async with running("exactly_once", process.address, database):
                    await until(lambda: counted() > before)  # noqa: B023
                before = counted()

        consuming = asyncio.create_task(consume())
        await asyncio.gather(consuming, deposit(consuming))
    code, _ = await run("exactly_once", process.address, database, "--until-caught-up")
    assert code == 0
    [(account, count, units, nanos)] = rows_of(database, "SELECT * FROM deposits")
    assert (account, count, units * 1_000_000_000 + nanos) == (account_id, made, made * 1_250_000_000)


async def test_a_receiver_that_is_sent_all_events_again_writes_no_second_letter(tmp_path: Path) -> None:
    database, data = tmp_path / "letters.db", tmp_path / "data"
    async with running("sink_receiver", "127.0.0.1:0", database) as receiver:
        address = (await line_of(receiver.stdout)).removeprefix("listening on ")
        sink = ("--sink", f"letters=http://{address}/")
        process = ServerProcess(data, *sink)
        await process.start()
        async with Caller(process.address) as bank:
            for name in ("Jane", "John"):
                await bank.register(first_name=name, email=f"{name}@example.com")
        await until(lambda: len(rows_of(database, "SELECT * FROM letters")) == 2)
        await process.stop()

        # The bank no longer knows what the sink has, so it begins at the beginning of the log.
        for path in data.glob("sinks.db*"):
            path.unlink()
        process = ServerProcess(data, *sink)
        await process.start()
        async with Caller(process.address) as bank:
            await bank.register(first_name="Joan", email="Joan@example.com")
        await until(lambda: len(rows_of(database, "SELECT * FROM letters")) == 3)
        await process.stop()
    assert sorted(rows_of(database, "SELECT * FROM letters")) == [
        ("Jane@example.com", "Welcome, Jane Doe!"),
        ("Joan@example.com", "Welcome, Joan Doe!"),
        ("John@example.com", "Welcome, John Doe!"),
    ]


@pytest.mark.parametrize("amount", ["", "1,50", "-1", "nan", "1.0000000001", "\u0661"])
async def test_a_withdrawal_takes_no_amount_that_it_would_have_to_round(amount: str) -> None:
    code, _ = await run("withdraw", "127.0.0.1:9", "johns", "--payment", uuid4(), "--", amount, "USD")
    assert code == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b'{"id": "1"}'])
async def test_a_receiver_refuses_a_body_that_is_not_an_event(tmp_path: Path, body: bytes) -> None:
    async with running("sink_receiver", "127.0.0.1:0", tmp_path / "letters.db") as receiver:
        host, _, port = (await line_of(receiver.stdout)).removeprefix("listening on ").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert (await asyncio.wait_for(reader.readline(), SECONDS_MAX)).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()
    assert rows_of(tmp_path / "letters.db", "SELECT * FROM seen") == []

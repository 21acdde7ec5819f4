"""`openbank web`, as it is typed."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from openbank.server import Server
from tests.cli.commands import run

LISTEN = ("--listen", "127.0.0.1:0")


async def test_it_serves_until_it_is_stopped(server: Server) -> None:
    command = [sys.executable, "-m", "openbank", "web", "--target", server.address, *LISTEN]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        said = (await process.stdout.readline()).decode()
        url, _, rest = said.partition(" ")
        assert rest == f"shows the bank at {server.address}\n"
        async with session.get(url) as response:
            assert response.content_type == "text/html"
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("flags", "code", "why"),
    [
        (["--listen", "0.0.0.0:0"], 2, "put a proxy with TLS before it, or add --insecure"),
        (["--listen", "8080"], 2, "argument --listen: must be HOST:PORT"),
        (["--token-file", "token"], 2, "every browser would call with this token"),
        (["--allow-origin", "https://bank.example/"], 2, "argument --allow-origin: must be an origin"),
        (["--allow-origin", "bank.example"], 2, "argument --allow-origin: must be an origin"),
    ],
)
async def test_unusable_flags_are_refused_at_once(flags: list[str], code: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    given = [str(tmp_path / "token") if flag == "token" else flag for flag in flags]
    ended = await run("web", *given)
    assert (ended.code, ended.out) == (code, "")
    assert why in ended.err


async def test_an_address_that_is_taken_is_named(server: Server) -> None:
    ended = await run("web", "--listen", server.address)
    assert ended.code == 2
    assert f"cannot listen on {server.address}: {os.strerror(errno.EADDRINUSE)}" in ended.err

"""The `openbank` command as people and programs run it: in a process of its own, at a terminal or with pipes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple

import pytest

from openbank.cli.main import main

SECONDS_MAX = 40


class Ended(NamedTuple):
    code: int
    out: str
    err: str


async def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """With pipes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=_environment(environment),
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode, out.decode(), err.decode())


def run_here(*arguments: str) -> Ended:
    """In this process, which is faster. The bank must be in another one."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(arguments)
    return Ended(code, out.getvalue(), err.getvalue())


async def run_on_terminal(
    *arguments: str, columns: int = 80, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The lines that a successful command prints on a terminal of `columns`."""
    try:
        leader, follower = pty.openpty()
    except OSError:
        pytest.skip("no terminals are here")
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", *arguments,
        stdout=follower, stderr=asyncio.subprocess.PIPE, env=_environment(environment),
    )  # fmt: skip
    os.close(follower)
    reading = asyncio.create_task(asyncio.to_thread(_read, leader))
    _, err = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode == 0, err.decode()
    return (await reading).decode().splitlines()


def _read(leader: int) -> bytes:
    """Until the last program at the terminal has ended, which is an error of input and output."""
    read = b""
    try:
        while data := os.read(leader, 1 << 16):
            read += data
    except OSError:
        pass
    finally:
        os.close(leader)
    return read


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBANK_", "COLUMNS"))}
    return {**clean, "TERM": "xterm", "TZ": "UTC", "XDG_CONFIG_HOME": "/nowhere", **(more or {})}

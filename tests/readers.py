"""Processes that read a bank's files while it is served, killed and started: `verify`, `backup`, a shell."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from uuid import uuid4

from tests.faults.told import Broken

SHELL = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
print("reads", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("is idle", flush=True)
sys.stdin.read()
"""


class Shell:
    """An open sqlite3 shell in a process of its own, with a read transaction until it `rests`. Its end is a kill."""

    def __init__(self, file: Path, environment: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._environment = {**os.environ, **(environment or {})}

    async def open(self) -> Shell:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", SHELL, str(self._file))
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=self._environment
        )
        assert self._process.stdout is not None
        try:
            # A shell that finds the file locked, or not there yet, ends.
            await self._process.stdout.readline()
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    async def rest(self) -> None:
        """It stays open, without a transaction."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        assert await self._process.stdout.readline() == b"is idle\n"

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def __aenter__(self) -> Shell:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Readers:
    """Come and go at random, until cancelled: then all are gone. A shell may stay over several lives of the bank.

    Raises Broken where `verify` finds a fault, or where a backup is not whole.
    """

    def __init__(
        self,
        data: Path,
        backups: Path,
        random: Random,
        environment: Mapping[str, str] | None = None,
        pause_seconds: float = 0.3,
    ) -> None:
        """`backups` is the directory for theirs; `pause_seconds` pass between two of them at the most."""
        self._data = data
        self._backups = backups
        self._random = random
        self._environment = environment or {}
        self._pause_seconds = pause_seconds
        self._patience = random.choice((0.2, 2, 20))
        """Seconds for which a shell stays at the most."""
        self.count = 0
        """How many there have been."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await asyncio.sleep(self._random.uniform(0, self._pause_seconds))
                if not (self._data / "events.db").exists():
                    continue
                self.count += 1
                kind = self._random.choice((*["shell"] * 6, "verify", "backup"))
                if kind == "shell":
                    tasks.create_task(self._shell(self._random.choice(("events.db", "events.db", "views.db"))))
                else:
                    await (self._verify() if kind == "verify" else self._backup())

    async def _shell(self, name: str) -> None:
        async with Shell(self._data / name, self._environment):
            await asyncio.sleep(self._random.uniform(0, self._patience))

    async def _verify(self) -> None:
        code, out, err = await self._openbank("verify", "--data", str(self._data))
        if code not in (0, 2) or (code == 2 and not _is_starting(err)):
            raise Broken(f"verify beside a bank ended with {code}: {out} {err}")

    async def _backup(self) -> None:
        copy = self._backups / f"{uuid4()}.db"
        code, out, err = await self._openbank("backup", str(copy), "--data", str(self._data))
        if code == 2 and _is_starting(err):
            return
        if code or not copy.exists():
            raise Broken(f"backup beside a bank ended with {code}: {out} {err}")
        copy.unlink()

    async def _openbank(self, *arguments: str) -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openbank", *arguments),
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **self._environment},
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def reading(readers: Readers) -> AsyncIterator[None]:
    """Beside the block. Raises what the readers raise."""
    running = asyncio.create_task(readers.run())
    try:
        yield
    finally:
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None


def _is_starting(error: str) -> bool:
    """A bank that was killed before it had made its tables has no log yet."""
    return "no such table" in error or "is not there" in error or "is empty" in error

"""A bank in a process of its own, for tests that kill it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 30


class ServerProcess:
    """`python -m openbank serve` on a free port; its log lines, as JSON, are kept."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        listen: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
        module: str = "openbank",
        python: str | Path = sys.executable,
        directory: Path | None = None,
        output: Path | None = None,
    ) -> None:
        """`directory` is the one that it runs in, if not that of the tests; `output` gets its standard output."""
        self._arguments = ["serve", "--listen", listen, "--data", str(data), "--log-format", "json", *flags]
        self._environment = environment or {}
        self._module = module
        self._python = str(python)
        self._directory = directory
        self._output = output
        self._launching: asyncio.Future[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.address = ""
        self.lines: list[dict[str, Any]] = []
        self.other_output: list[str] = []

    async def start(self) -> None:
        """Until it takes calls; its views may still have to catch up."""
        await self.launch()
        await self.ready()

    async def launch(self) -> None:
        """Starts the process, which may not take calls yet."""
        # To its end even if the test ends meanwhile: nothing else could stop what it starts.
        self._launching = asyncio.ensure_future(self._launch())
        await asyncio.shield(self._launching)

    async def _launch(self) -> None:
        self.address = ""
        self._ready.clear()
        with nullcontext() if self._output is None else self._output.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                self._python,
                "-m",
                self._module,
                *self._arguments,
                stdout=output,
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 20,
                cwd=self._directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("OPENBANK_")}
                | dict(self._environment),
            )
        self._reading = asyncio.create_task(self._read())

    async def ready(self, seconds_max: float = START_SECONDS_MAX) -> None:
        if not await self.is_ready(seconds_max):
            raise AssertionError(f"the server has not started: {self.other_output}")

    async def is_ready(self, seconds_max: float = START_SECONDS_MAX) -> bool:
        """Once it is; false once it has ended instead."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds_max)
        except TimeoutError:
            raise AssertionError(f"the server is not ready: {self.lines[-5:]}") from None
        return bool(self.address)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> int:
        """SIGKILL: no line of its code runs any more. The exit code, which may be that of an end before."""
        return await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once it has one."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        return code

    def said(self, message: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.lines if line["message"] == message]

    async def _end(self, number: signal.Signals) -> int:
        if self._launching is not None:
            await self._launching
        self.tell(number)
        return await self.ended()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for text in self._process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                self.other_output.append(text.decode())
                continue
            self.lines.append(line)
            if line["message"] in ("listening", "ready"):
                self.address = line["listen"]
                self._ready.set()
        self._ready.set()


async def run_openbank(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "openbank",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    out, err = await asyncio.wait_for(process.communicate(), START_SECONDS_MAX)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def console_session(data: Path) -> str:
    """What a bank says on standard output until it is ready, after which Ctrl-C stops it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", "serve", "--listen", "127.0.0.1:0", "--data", str(data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    while "try " not in said:
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS_MAX)
        assert line, said
        said += line.decode()
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), START_SECONDS_MAX)
    assert process.returncode == 0
    return said

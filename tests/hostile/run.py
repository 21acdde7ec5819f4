"""Sends a server whatever comes to mind, and looks whether it stands firm."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import grpc

from openbank.common.v1.money_pb2 import Money
from tests.callers import Caller, request_id
from tests.hostile.calls import OPTIONS, Calls
from tests.hostile.credentials import ACCOUNT, OWNER, Credentials
from tests.hostile.frames import Connections
from tests.hostile.probes import Probes
from tests.hostile.values import Values
from tests.hostile.verdict import Broken
from tests.servers import ServerProcess

SENDERS = 24
CHANNELS = 3
CONNECTIONS_PART = 0.005
"""The part of the inputs that are whole connections; the others are calls."""
PROBES_PART = 0.02
"""The part of the inputs that are calls with one thing in them that must not work."""
WARM_PART = 0.4
"""The part of the inputs that come before the server's memory counts: caches fill, pools come to their size."""
LAST_PART = 0.25
GROWTH_BYTES_MAX = 32 << 20
"""What the server has at its least in the last part of the inputs, above what it had at its most in the warm-up."""
CONNECTION_BYTES = 20 << 10
"""More for each hostile connection, which is what gRPC's core does not give back: docs/hostile-input.md."""
LARGE_BYTES = 15_000
"""From this size on a request is large."""
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
FLAGS = ("--cached-aggregates", "200", "--ring-events", "1000")
"""Small, so that what is kept in memory on purpose is there before memory is first looked at."""
CANARY_INPUTS = 1_000
"""After so many inputs there is an ordinary call, which must work as ever."""


class Figures:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        """How often each method was answered OK, by its path."""
        self.memory: list[tuple[int, int]] = []
        """Resident bytes of the server, after so many inputs."""
        self.seconds = 0.0
        self.large = self.large_bytes = 0
        """Calls with a request that is large, and their bytes together."""

    def growth(self, inputs: int) -> tuple[int, int]:
        """The most that the server had in the warm-up, and the least that it had in the last part."""
        warm = [size for sent, size in self.memory if sent <= inputs * WARM_PART]
        last = [size for sent, size in self.memory if sent >= inputs * (1 - LAST_PART)]
        return max(warm), min(last)

    def __str__(self) -> str:
        sent = self.outcomes.total()
        before, after = (size / (1 << 20) for size in self.growth(self.memory[-1][0]))
        lines = [f"{number:>9,}  {outcome}" for outcome, number in self.outcomes.most_common()]
        memory = f"memory of the server at most {before:.0f} MiB in the warm-up, and {after:.0f} MiB or more at the end"
        large = f"{self.large:,} requests of {LARGE_BYTES:,} bytes or more, {self.large_bytes >> 20:,} MiB together"
        return "\n".join([*lines, large, f"{sent:,} answers in {self.seconds:.0f} s; {memory}"])


async def run(inputs: int, seed: int, directory: Path, say: Callable[[str], None]) -> Figures:
    """`say` gets lines of progress. Raises Broken where the server has not stood firm."""
    credentials = Credentials(directory, Random(seed))
    socket = f"unix:{directory}/bank.sock"
    ports = ("--local-socket", socket, "--metrics-listen", "127.0.0.1:0")
    access, output = ("--access", str(credentials.file)), directory / "output"
    process = ServerProcess(directory / "data", *FLAGS, *ports, *access, output=output)
    await process.start()
    credentials.keep_secret(_token_key(directory / "data"))
    try:
        async with AsyncExitStack() as stack:
            return await _Run(process, socket, credentials, inputs, seed, stack, say).all()
    finally:
        await process.kill()
        credentials.check_for_secrets(output.read_bytes(), "standard output")


class _Run:
    def __init__(
        self,
        process: ServerProcess,
        socket: str,
        credentials: Credentials,
        inputs: int,
        seed: int,
        stack: AsyncExitStack,
        say: Callable[[str], None],
    ) -> None:
        self._process = process
        self._socket = socket
        self._credentials = credentials
        self._inputs = inputs
        self._random = Random(seed)
        self._say = say
        self._stack = stack
        values = Values(self._random)
        self._calls = Calls(self._random, values, credentials)
        self._probes = Probes(self._random, values, self._calls, credentials)
        self._connections = Connections(self._random, values, metadata=credentials.full().metadata)
        self._one_canary = asyncio.Lock()
        self._sent = self._played = 0
        self._paid = 0
        self._account_id = ""
        self._figures = Figures()

    async def all(self) -> Figures:
        began = time.monotonic()
        caller = await self._stack.enter_async_context(Caller(self._process.address, token=self._credentials.key))
        self._account_id = (await caller.open()).account.account_id
        await caller.register(person_id=OWNER)
        await caller.open(OWNER, account_id=ACCOUNT)
        [metrics] = self._process.said("metrics are served")
        channels = [
            await self._stack.enter_async_context(grpc.aio.insecure_channel(address, options=OPTIONS))
            for address in (self._socket, *[self._process.address] * CHANNELS)
        ]
        await self._canary(caller)
        await self._send_all(channels, caller)
        await self._canary(caller)
        self._check_memory()
        await self._check_metrics(f"http://{metrics['listen']}/metrics")
        self._figures.seconds = time.monotonic() - began
        return self._figures

    async def _send_all(self, channels: list[Any], caller: Caller) -> None:
        by_socket, *channels = channels

        async def send(channel: Any) -> None:
            while self._sent < self._inputs:
                self._sent += 1
                if self._sent % CANARY_INPUTS == 0:
                    await self._canary(caller)
                await self._input(channel, by_socket)

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(SENDERS):
                    tasks.create_task(send(channels[number % CHANNELS]))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _input(self, channel: Any, by_socket: Any) -> None:
        part = self._random.random()
        if part < PROBES_PART:
            self._figures.outcomes[await self._probes.ask(channel)] += 1
            return
        if part >= PROBES_PART + CONNECTIONS_PART:
            call = self._calls.make()
            outcome = await self._calls.send(by_socket if call.attempt.by_socket else channel, call)
            self._figures.outcomes[outcome] += 1
            self._figures.done[call.method.path] += outcome == "OK"
            if (size := sum(map(len, call.requests))) >= LARGE_BYTES:
                self._figures.large += 1
                self._figures.large_bytes += size
            return
        kind, sent = self._connections.make()
        self._played += 1
        try:
            self._figures.outcomes.update(await self._connections.play(self._process.address, kind, sent))
        except Broken as broken:
            shown = b"".join(sent)
            raise Broken(f"{broken}\nto a connection ({kind}): {shown[:3_000]!r}") from None

    async def _canary(self, caller: Caller) -> None:
        """An ordinary caller is served as ever; nothing was done to the account but what was asked for."""
        async with self._one_canary:
            await self._sing(caller)

    async def _sing(self, caller: Caller) -> None:
        self._look_for_bugs()
        self._paid += 1
        paid = await caller.deposit(self._account_id, "1", request_id=request_id())
        found = await caller.balance(self._account_id, paid.consistency_token)
        if paid.account.balance != Money(currency_code="USD", units=self._paid) or found != f"{self._paid}.00 USD":
            raise Broken(f"{found} after {self._paid} deposits of 1.00 USD")
        self._figures.memory.append((self._sent, resident_bytes(self._process.pid)))
        self._say(f"{self._sent:,} inputs, {self._figures.memory[-1][1] >> 20} MiB")

    def _look_for_bugs(self) -> None:
        """In what the server has said; there is a line for every call, which is not kept."""
        errors = [line for line in self._process.lines if line["level"] in ("error", "critical")]
        if errors or self._process.other_output:
            raise Broken(f"the server said: {errors[:3]} {self._process.other_output[:20]}")
        self._credentials.check_for_secrets(str(self._process.lines), "the log")
        callers = {line["caller"] for line in self._process.lines if "caller" in line}
        if not callers <= self._credentials.callers:
            raise Broken(f"the log names callers that there are not: {callers - self._credentials.callers}")
        del self._process.lines[:]

    async def _check_metrics(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            shown = await response.text()
        self._credentials.check_for_secrets(shown, "a metric")
        if 'openbank_authentications_total{outcome="key"}' not in shown:
            raise Broken(f"no callers are counted: {shown[:1_000]}")

    def _check_memory(self) -> None:
        before, after = self._figures.growth(self._inputs)
        if after - before > GROWTH_BYTES_MAX + CONNECTION_BYTES * self._played:
            raise Broken(f"the server's memory has grown from {before:,} to {after:,} bytes")


def _token_key(data: Path) -> str:
    """What the bank seals its tokens with."""
    with closing(sqlite3.connect(f"file:{data}/events.db?mode=ro", uri=True)) as connection:
        [[key]] = connection.execute("SELECT value FROM meta WHERE name = 'token_key'")
    return str(key)


def resident_bytes(pid: int) -> int:
    """In bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES

"""The bank and a model of it are driven side by side by Hypothesis, which makes what they disagree on small.

OPENBANK_MODEL_EXAMPLES=5000 makes that many examples, at random; without it there are few, always the same.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from openbank.app import serving
from openbank.domain.clock import system_clock
from tests.back_ends import BackEnd
from tests.model.machine import BankMachine, Host
from tests.servers import ServerProcess

EXAMPLES = int(os.environ.get("OPENBANK_MODEL_EXAMPLES", "0"))
STEPS = 50
HOUR = 3_600_000_000
FIRST = 1_793_491_200_000_000
"""2026-11-01T00:00:00Z: a day of 25 hours in New York."""
_numbers = count(1)


class Here:
    """A bank in this process, which only a restart can be tried on: it is quick."""

    can_kill = False
    has_clock = True

    def __init__(self, back_end: BackEnd, data: Path) -> None:
        self._now = FIRST
        self._settings = back_end.settings(data, drain_seconds=5, log_level="warning")
        self._running = AsyncExitStack()

    async def start(self) -> str:
        return (await self._running.enter_async_context(serving(self._settings, self.now))).address

    async def stop(self) -> None:
        await self._running.aclose()

    async def kill(self) -> None:
        raise NotImplementedError

    def now(self) -> int:
        return self._now

    def advance(self, hours: int) -> None:
        self._now += hours * HOUR


class Apart:
    """A bank in a process of its own, which can be killed."""

    can_kill = True
    has_clock = False

    def __init__(self, back_end: BackEnd, data: Path) -> None:
        self._process = ServerProcess(data, *back_end.flags)

    async def start(self) -> str:
        await self._process.start()
        return self._process.address

    async def stop(self) -> None:
        assert await self._process.stop() == 0

    async def kill(self) -> None:
        await self._process.kill()

    def now(self) -> int:
        return system_clock()

    def advance(self, hours: int) -> None:
        raise NotImplementedError


async def drive(host: type[Here] | type[Apart], back_end: BackEnd, directory: Path, examples: int) -> None:
    """Hypothesis in a thread, the bank's and its callers' events in this loop."""
    loop = asyncio.get_running_loop()

    def machine() -> BankMachine:
        made: Host = host(back_end, directory / str(next(_numbers)))
        return BankMachine(loop, made)

    some = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[phase for phase in Phase if phase is not Phase.explain],
    )
    # Anything that makes a machine will do.
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=some)  # type: ignore[arg-type]


@pytest.mark.timeout(0 if EXAMPLES else 300)
async def test_the_bank_answers_as_its_model_does(back_end: BackEnd, tmp_path: Path) -> None:
    await drive(Here, back_end, tmp_path, examples=30)


@pytest.mark.timeout(0 if EXAMPLES else 300)
async def test_a_bank_that_is_killed_and_restarted_answers_as_its_model_does(back_end: BackEnd, tmp_path: Path) -> None:
    await drive(Apart, back_end, tmp_path, examples=3)

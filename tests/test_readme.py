"""What the README and the pages that continue it show is what happens, with the real grpcurl."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.back_ends import BackEnd
from tests.readme import (
    ADDRESS,
    BATCHES,
    HOLDS,
    INSTANCES,
    INTEGRATION_EVENTS,
    README,
    REVERSALS,
    STATEMENTS,
    TOUR,
    TRANSFERS,
    Example,
    comparable,
    examples,
)
from tests.servers import ServerProcess
from tests.stand_ins.process import EventStoreDBProcess

CACHE = Path(__file__).parents[1] / ".cache/bin"
# Each page continues the session of the one before it.
PAGES = (README, TOUR, INTEGRATION_EVENTS, TRANSFERS, HOLDS, STATEMENTS, REVERSALS, BATCHES)
EXAMPLES = [example for page in PAGES for example in examples(page)]
README_LINES_MAX = 300


async def test_every_command_of_the_readme_prints_what_is_shown_there(process: ServerProcess) -> None:
    for example in EXAMPLES:
        if not uses(INSTANCES, example):
            await shows(example, {ADDRESS: process.address})


async def test_every_command_of_two_instances_on_servers_prints_what_is_shown(database: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as running:
        events = running.enter_context(EventStoreDBProcess())
        addresses = {}
        for instance in INSTANCES:
            process = ServerProcess(tmp_path / "data", *BackEnd(events.uri, database).flags)
            await process.start()
            running.push_async_callback(process.stop)
            addresses[instance] = process.address
        for example in EXAMPLES:
            if uses(INSTANCES, example):
                await shows(example, addresses)


def test_the_readme_is_short_and_has_a_session_and_a_client() -> None:
    assert len(README.read_text().splitlines()) <= README_LINES_MAX
    assert [example.language for example in examples(README)].count("sh") >= 5
    assert "python" in {example.language for example in examples(README)}


def test_the_tour_has_a_session_one_on_servers_and_a_client() -> None:
    assert sum(uses(INSTANCES, example) for example in examples(TOUR)) >= 3
    assert [example.language for example in examples(TOUR)].count("sh") >= 7
    assert "python" in {example.language for example in examples(TOUR)}


def uses(addresses: Iterable[str], example: Example) -> bool:
    return any(address in example.source for address in addresses)


async def shows(example: Example, addresses: Mapping[str, str]) -> None:
    """Where the addresses that are shown are these."""
    path = f"{CACHE}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("grpcurl", path=path) is None:
        pytest.skip("grpcurl is not here")
    source = example.source
    for shown, address in addresses.items():
        source = source.replace(shown, address)
    command = {"sh": ("sh", "-c", source), "python": (sys.executable, "-c", source)}[example.language]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": path},
    )
    output, _ = await process.communicate()
    assert comparable(output.decode()) == comparable(example.output), example.source

"""What the README and its like show is what happens, with the real grpcurl."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.readme import ADDRESS, INTEGRATION_EVENTS, README, Example, comparable, examples
from tests.servers import ServerProcess

CACHE = Path(__file__).parents[1] / ".cache/bin"


async def test_every_command_of_the_readme_prints_what_is_shown_there(process: ServerProcess) -> None:
    path = f"{CACHE}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("grpcurl", path=path) is None:
        pytest.skip("grpcurl is not here")
    # The second goes on where the first has ended.
    for example in (*examples(README), *examples(INTEGRATION_EVENTS)):
        assert comparable(await run(example, process.address, path)) == comparable(example.output), example.source


def test_the_readme_has_a_session_and_a_client() -> None:
    assert [example.language for example in examples()].count("sh") >= 6
    assert "python" in {example.language for example in examples()}


async def run(example: Example, address: str, path: str) -> str:
    source = example.source.replace(ADDRESS, address)
    command = {"sh": ("sh", "-c", source), "python": (sys.executable, "-c", source)}[example.language]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": path},
    )
    output, _ = await process.communicate()
    return output.decode()

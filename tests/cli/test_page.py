"""What docs/command-line.md shows is what happens."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.readme import comparable, examples
from tests.servers import ServerProcess

PAGE = Path(__file__).parents[2] / "docs/command-line.md"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_every_command_of_the_page_prints_what_is_shown_there(process: ServerProcess) -> None:
    # The page is about a bank where `openbank serve` listens by default.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OPENBANK_LISTEN": process.address, "XDG_CONFIG_HOME": "/nowhere"}
    # The screen of `openbank top` is for people.
    found = [example for example in examples(PAGE) if example.language == "sh"]
    assert len(found) >= 5
    for example in found:
        shell = await asyncio.create_subprocess_exec(
            "sh", "-c", example.source,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment,
        )  # fmt: skip
        output, _ = await shell.communicate()
        assert without_ids(output.decode()) == without_ids(example.output), example.source


def without_ids(output: str) -> str:
    return UUID.sub("...", comparable(output))

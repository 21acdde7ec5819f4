"""What docs/security.md and docs/access.md show is what happens."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.readme import blocks, comparable
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/security.md", ROOT / "docs/access.md"]
PORT = "50051"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_every_command_of_the_page_prints_what_is_shown_there(tmp_path: Path, page: Path) -> None:
    directories = [str(Path(sys.executable).parent), str(ROOT / ".cache/bin"), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(directories)}
    shown = blocks(page)
    for tool in ("grpcurl", "openssl"):
        if tool in str(shown) and shutil.which(tool, path=environment["PATH"]) is None:
            pytest.skip(f"{tool} is not here")
    variables = ""
    async with AsyncExitStack() as running:
        bank: ServerProcess | None = None
        for (language, source), (kind, output) in zip(shown, [*shown[1:], ("", "")], strict=True):
            if language != "sh":
                continue
            if source.rstrip().endswith("&"):
                if bank is not None:
                    await bank.stop()
                bank = await started(source, tmp_path)
                running.push_async_callback(bank.stop)
                continue
            port = bank.address.rpartition(":")[2] if bank else PORT
            variables += "".join(f"{line}\n" for line in source.splitlines() if line.startswith("new="))
            said = await run(
                variables + source.replace(f":{PORT}", f":{port}").replace("$!", str(bank.pid if bank else 0)),
                tmp_path,
                environment,
            )
            expected = output if kind == "text" else ""
            assert comparable(said.replace(f":{port}", f":{PORT}")) == comparable(expected), source


async def started(source: str, directory: Path) -> ServerProcess:
    """The bank that a block starts, in the directory, on a free port."""
    _, serve, *flags = shlex.split(source.rstrip().rstrip("&"))
    assert serve == "serve"
    bank = ServerProcess(directory / "data", *flags, directory=directory)
    await bank.start()
    return bank


async def run(source: str, directory: Path, environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", source, cwd=directory, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()

"""Builds and runs the programs of docs/clients.md as that page says.

`python -m tests.clients.try_examples [LANGUAGE]...` tries those named, or else all whose tools are installed, and names
the others. Builds download what they need and take minutes, so CI runs this for Go, and the tests do not.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.callers import Caller, usd
from tests.readme import ADDRESS
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/clients.md"
EXAMPLES = ROOT / "examples"


class Language(NamedTuple):
    directory: str
    tools: tuple[str, ...]
    code: str
    """How blocks of its code are marked on the page."""


LANGUAGES = {
    "Go": Language("go", ("go",), "go"),
    "Java": Language("java", ("java", "mvn"), "java"),
    "TypeScript": Language("typescript", ("node", "npm"), "typescript"),
    "Rust": Language("rust", ("cargo",), "rust"),
}
PROTOC = f"""#!/bin/sh
exec {sys.executable} -m grpc_tools.protoc "$@"
"""


def blocks(name: str, kind: str) -> list[str]:
    """The blocks of one kind in a language's section."""
    section = PAGE.read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def main(names: list[str]) -> None:
    with TemporaryDirectory() as scratch:
        directory = Path(scratch)
        make = ["make", "--silent", "protos", f"DIST={directory / 'dist'}"]
        subprocess.run(make, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        programs = directory / "bin"
        programs.mkdir()
        if not shutil.which("protoc"):
            (programs / "protoc").write_text(PROTOC)
            (programs / "protoc").chmod(0o755)
        asyncio.run(_try_all(names, directory, programs))


async def _try_all(names: list[str], directory: Path, programs: Path) -> None:
    bank = ServerProcess(directory / "data")
    await bank.start()
    try:
        for name in names or LANGUAGES:
            missing = [tool for tool in LANGUAGES[name].tools if not shutil.which(tool)]
            if missing and not names:
                print(f"{name}: not tried, {missing[0]} is not installed")
                continue
            await _try(name, directory, programs, bank.address)
            print(f"{name}: works", flush=True)
    finally:
        await bank.stop()


async def _try(name: str, directory: Path, programs: Path, address: str) -> None:
    async with Caller(address) as caller:
        account_id = (await caller.open(initial_deposit=usd("1000"))).account.account_id
        for amount in ("500", "25"):
            await caller.deposit(account_id, amount)
    work = directory / LANGUAGES[name].directory
    shutil.copytree(EXAMPLES / LANGUAGES[name].directory, work)
    shutil.copytree(directory / "dist/openbank-protos", work / "openbank-protos")
    shutil.copy(directory / "dist/openbank.binpb", work)
    [commands] = blocks(name, "sh")
    commands = commands.replace(ADDRESS, address).replace("johns", account_id)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GOBIN": str(programs)}
    run = await asyncio.create_subprocess_exec(
        *("sh", "-ec", commands), cwd=work, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await run.communicate()
    # The programs differ in what they print of a balance beside its units.
    said = [line.removesuffix(" USD") for line in _without_colours(output.decode()).splitlines()[-5:]]
    [shown] = blocks("Go", "text")
    if said != [line.removesuffix(" USD") for line in shown.splitlines()]:
        raise SystemExit(f"{name}: exit code {run.returncode}, and it printed\n{output.decode()}")


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()


if __name__ == "__main__":
    main(sys.argv[1:])

"""python -m tests.disk --cuts 1000 --seed 7: takes the power from a bank, and checks that what it has told is there. A
failure prints the command that repeats it, and leaves the files."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.disk.campaign import campaign
from tests.disk.layer import CompilerMissing, build


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.disk", description=__doc__)
    parser.add_argument("--cuts", type=int, default=200, help="losses of power (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default: 7)")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="openbank-disk-"))
    try:
        work = campaign(build(directory), arguments.cuts, arguments.seed, directory, print_now)
        figures = asyncio.run(work)
    except CompilerMissing as missing:
        print_now(str(missing))
        return 2
    except Exception as error:
        print_now(f"{type(error).__name__}: {error}")
        print_now(f"The files are in {directory}. To do it again:")
        print_now(f"  {sys.executable} -m tests.disk --cuts {arguments.cuts} --seed {arguments.seed}")
        return 1
    shutil.rmtree(directory)
    print_now(f"All in all: {figures}.")
    print_now("Everything that was acknowledged is there after each of them.")
    return 0


def print_now(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

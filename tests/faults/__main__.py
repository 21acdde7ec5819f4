"""python -m tests.faults --kills 200 --seed 7 --back-end servers: kills a bank under load, and checks that it keeps
its word. A failure prints the command that repeats it, and leaves the bank's files."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign import campaign
from tests.faults.parts import BACK_ENDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often something is killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default: 7)")
    parser.add_argument("--back-end", choices=BACK_ENDS, default="servers", help="(default: %(default)s)")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="openbank-faults-"))
    work = campaign(arguments.back_end, arguments.kills, arguments.seed, directory, print_now)
    try:
        figures = asyncio.run(work)
    except Exception as error:
        print_now(f"{type(error).__name__}: {error}")
        print_now(f"The bank's files are in {directory}. To do it again:")
        print_now(
            f"  {sys.executable} -m tests.faults"
            f" --back-end {arguments.back_end} --kills {arguments.kills} --seed {arguments.seed}"
        )
        return 1
    shutil.rmtree(directory)
    print_now(f"{arguments.back_end}, all in all: {figures}")
    print_now("Nothing that was acknowledged is lost, nothing is there twice, and nothing that was refused is there.")
    return 0


def print_now(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""python -m tests.hostile --inputs 1000000 --seed 7: sends a bank whatever comes to mind, and looks whether it stands
firm. A failure prints what was sent, and the command that repeats it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.hostile.run import run
from tests.hostile.verdict import Broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="how many are sent (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default: 7)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbank-hostile-") as directory:
        try:
            figures = asyncio.run(run(arguments.inputs, arguments.seed, Path(directory), _Progress()))
        except Broken as broken:
            print(f"{broken}\nTo do it again:", flush=True)
            print(f"  {sys.executable} -m tests.hostile --inputs {arguments.inputs} --seed {arguments.seed}")
            return 1
    print(figures)
    print("No INTERNAL, no UNKNOWN, no exception's text, no hang, no growth; an ordinary caller was served throughout.")
    print("Nobody got in who may not; no secret was shown.")
    return 0


class _Progress:
    """Every tenth time."""

    def __init__(self) -> None:
        self._times = 0

    def __call__(self, line: str) -> None:
        self._times += 1
        if self._times % 10 == 0:
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

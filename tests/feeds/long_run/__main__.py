"""python -m tests.feeds.long_run --minutes 30: 200 watchers come, go, stall and are cut while two instances are
restarted and killed in turn under load; what each was given is held against the log, event by event."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.__main__ import print_now
from tests.feeds.long_run.run import Plan, Run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.feeds.long_run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="(default: %(default)s)")
    parser.add_argument("--watchers", type=int, default=200, help="at any time (default: %(default)s)")
    parser.add_argument(
        "--writes", type=float, default=500, help="a second, as far as the bank takes them (default: 500)"
    )
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default: 7)")
    arguments = parser.parse_args()
    plan = Plan(
        seconds=60 * arguments.minutes,
        watchers=arguments.watchers,
        writes_per_second=arguments.writes,
        seed=arguments.seed,
    )
    directory = Path(tempfile.mkdtemp(prefix="openbank-feeds-"))
    try:
        figures = asyncio.run(Run(plan, directory, print_now).run())
    except BaseException as error:
        print_now(f"{type(error).__name__}: {error}; the bank's files are in {directory}")
        raise
    shutil.rmtree(directory)
    print_now(str(figures))
    print_now("What each watch was given is the log: nothing is missing, nothing came twice, nothing in another order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

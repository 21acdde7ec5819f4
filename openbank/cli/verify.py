"""`openbank verify`"""

from __future__ import annotations

import argparse
import asyncio

from openbank import config
from openbank.cli.errors import EXIT_NO, CommandFailed
from openbank.cli.parsers import Commands
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "verify",
        help="check all that is stored",
        description="Checks every event and what the events say of one another, the indexes, the money, and the views"
        f"  against rebuilt views; also while it is served. Exits with 0 if all is well, with {EXIT_NO} if not.",
    )
    config.add_flags(parser, "data", "event_store", "views", "store_wait_seconds")
    parser.set_defaults(run=run)


def run(settings: Settings, _: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START
    from openbank.cli.progress import progress
    from openbank.upkeep.verify import verify

    try:
        with progress() as said:
            report = asyncio.run(verify(settings, said))
    except CANNOT_START as error:
        raise CommandFailed(str(error)) from error
    for line in (*report.lines, *report.faults):
        print(line)
    print(f"{report.fault_count:,} faults" if report.fault_count else "no fault")
    return EXIT_NO if report.fault_count else 0

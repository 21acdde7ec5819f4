"""`openbank restore`"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openbank import config
from openbank.cli.errors import CommandFailed
from openbank.cli.parsers import Commands
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "restore",
        help="put a backup in the place of the bank's events",
        description="Puts a backup in the place of the bank's events. It is checked first, and is only read. What was"
        " there is kept in a directory of its own. The bank must not be served meanwhile; its views are rebuilt at the"
        " next start.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="made by openbank backup")
    config.add_flags(parser, "data")
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START
    from openbank.cli.progress import progress
    from openbank.upkeep.restore import restore

    try:
        with progress() as report:
            contents, kept = restore(settings.data, flags.file, report)
    except CANNOT_START as error:
        raise CommandFailed(f"the restore has failed: {error}") from error
    last = f", the last of {_shown(contents.time)}" if contents.time is not None else ""
    print(f"{settings.data.resolve()} has the {contents.position:,} events of {flags.file}{last}")
    if kept:
        print(f"what was there before is in {kept}")
    return 0


def _shown(microseconds: int) -> str:
    time = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")

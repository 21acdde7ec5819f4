"""`openbank backup`"""

from __future__ import annotations

import argparse

from openbank import config
from openbank.cli.errors import CommandFailed
from openbank.cli.parsers import Commands, path
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "backup",
        help="copy the bank's events to a file",
        description="Copies the bank's events to a file, also while it is served, and checks the copy.",
    )
    parser.add_argument("file", type=path, metavar="FILE", help="must not be there yet")
    config.add_flags(parser, "data")
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START, backup
    from openbank.cli.progress import progress

    try:
        with progress() as report:
            backup(settings.data, flags.file, report)
    except CANNOT_START as error:
        raise CommandFailed(f"no backup was made: {error}") from error
    print(f"{flags.file} holds the events of {settings.data.resolve()}")
    return 0

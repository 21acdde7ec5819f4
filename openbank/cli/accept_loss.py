"""`openbank accept-loss`"""

from __future__ import annotations

import argparse

from openbank import config
from openbank.cli.errors import CommandFailed
from openbank.cli.parsers import Commands
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "accept-loss",
        help="continue with a log that has lost events",
        description="For a bank that refuses to start because its log has lost events, where no backup has more: makes"
        " what is left a log of its own. Views are rebuilt from it at the next start. A damaged log is refused.",
    )
    config.add_flags(parser, "data")
    parser.set_defaults(run=run)


def run(settings: Settings, _: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START, accept_loss

    try:
        end = accept_loss(settings.data)
    except CANNOT_START as error:
        raise CommandFailed(str(error)) from error
    print(f"the log in {settings.data.resolve()} ends at position {end}, and is a log of its own from here on")
    return 0

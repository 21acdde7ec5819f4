"""`openbank accept-loss`"""

from __future__ import annotations

import argparse
import asyncio

from openbank import address, config
from openbank.cli import grpc_log
from openbank.cli.errors import CommandFailed
from openbank.cli.event_loop import loop_factory
from openbank.cli.parsers import Commands
from openbank.config import Settings, is_embedded


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "accept-loss",
        help="continue with a log that has lost events",
        description="For a bank that refuses to start because its log has lost events, where no backup has more: makes"
        " what is left a log of its own. Views are rebuilt from it at the next start. A damaged log is refused.",
    )
    config.add_flags(parser, "data", "event_store", "store_wait_seconds")
    parser.set_defaults(run=run)


def run(settings: Settings, _: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.app import CANNOT_START, accept_loss

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            end = runner.run(accept_loss(settings))
    except CANNOT_START as error:
        raise CommandFailed(str(error)) from error
    place = settings.data.resolve() if is_embedded(settings.event_store) else address.shown(settings.event_store)
    print(f"the log in {place} ends at position {end}, and is a log of its own from here on")
    return 0

"""`openbank health`"""

from __future__ import annotations

import argparse
import sys

from openbank.cli import grpc_log
from openbank.cli.errors import EXIT_NO
from openbank.cli.parsers import Commands, add_target, text
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "health",
        help="ask whether a bank is serving",
        description=f"Prints the health of a bank and of its parts. Exits with 0 if the whole, or PART, is serving,"
        f" else with {EXIT_NO}, and says why on standard error.",
    )
    parser.add_argument(
        "part",
        type=text,
        nargs="?",
        default="",
        metavar="PART",
        help="openbank.commands, openbank.queries, openbank.feeds, ...",
    )
    add_target(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.asking import table
    from openbank.rpc.probe import SERVING, WHY_NOT, probe

    health = probe(flags.target or settings.listen, flags.part)
    print(health.status)
    rows = [(part, status, "" if status == SERVING else WHY_NOT[part]) for part, status in health.parts.items()]
    for row in table(rows):
        print(row)
    if health.why:
        print(f"openbank: {health.why}", file=sys.stderr)
    return 0 if health.status == SERVING else EXIT_NO

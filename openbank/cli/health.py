"""`openbank health`"""

from __future__ import annotations

import argparse
import sys

from openbank.cli import grpc_log
from openbank.cli.connection import add_connection, connection
from openbank.cli.errors import EXIT_NO
from openbank.cli.parsers import Commands, text
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
    add_connection(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.asking import table
    from openbank.cli.unreachable import UNREACHABLE, unreachable
    from openbank.rpc.probe import SERVING, WHY_NOT, probe

    bank = connection(settings, flags)
    with bank.channel() as channel:
        health = probe(channel, bank.target, flags.part)
    print(health.status)
    rows = [(part, status, "" if status == SERVING else WHY_NOT[part]) for part, status in health.parts.items()]
    for row in table(rows):
        print(row)
    if health.why:
        why = (unreachable(bank) if health.status in UNREACHABLE else "") or health.why
        print(f"openbank: {why}", file=sys.stderr)
    return 0 if health.status == SERVING else EXIT_NO

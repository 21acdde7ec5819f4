"""`openbank health`"""

from __future__ import annotations

import argparse
import sys

from openbank.cli import grpc_log
from openbank.cli.arguments import seconds
from openbank.cli.connection import add_connection, connection
from openbank.cli.errors import EXIT_DENIED, EXIT_NO, EXIT_UNAVAILABLE
from openbank.cli.output.flags import add_output
from openbank.cli.parsers import Commands, Parser, text
from openbank.config import Settings

ANSWER_SECONDS = 3.0
NO = ("NOT_SERVING", "NOT_FOUND", "SERVICE_UNKNOWN")
"""What a bank answers. Every other status is that of a call that no bank has answered."""
DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


def add(commands: Commands) -> None:
    commands.add_parser(
        "health",
        help="ask whether a bank is serving",
        description=f"Prints the health of a bank and of its parts. Exits with 0 if the whole, or PART, is serving,"
        f" with {EXIT_UNAVAILABLE} if no bank answers, else with {EXIT_NO}, and says why on standard error.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    parser.add_argument(
        "part",
        type=text,
        nargs="?",
        default="",
        metavar="PART",
        help="openbank.commands, openbank.queries, openbank.feeds, ...",
    )
    add_connection(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=ANSWER_SECONDS,
        metavar="SECONDS",
        help=f"how long an answer may take (default: {ANSWER_SECONDS:g})",
    )
    add_output(parser, elsewhere="table")
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.output.rows import print_rows
    from openbank.cli.output.words import table
    from openbank.cli.unreachable import UNREACHABLE, unreachable
    from openbank.rpc.probe import SERVING, probe

    bank = connection(settings, flags)
    with bank.channel() as channel:
        health = probe(channel, bank.target, flags.part, flags.timeout)
    if (flags.output or "table") == "table":
        print(health.status)
        for row in table([(part, status, _why_not(part, status)) for part, status in health.parts.items()]):
            print(row)
    else:
        whole = [{"part": flags.part, "status": health.status, "why": health.why}]
        parts = [{"part": part, "status": one, "why": _why_not(part, one)} for part, one in health.parts.items()]
        print_rows(("part", "status", "why"), whole + parts, flags)
    if health.why:
        why = (unreachable(bank) if health.status in UNREACHABLE else "") or health.why
        print(f"openbank: {why}", file=sys.stderr)
    if health.status == SERVING:
        return 0
    return EXIT_NO if health.status in NO else EXIT_DENIED if health.status in DENIED else EXIT_UNAVAILABLE


def _why_not(part: str, status: str) -> str:
    from openbank.rpc.probe import SERVING, WHY_NOT

    return "" if status == SERVING else WHY_NOT[part]

"""`openbank top`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.arguments import seconds
from openbank.cli.connection import add_connection, connection
from openbank.cli.output.flags import COLORS
from openbank.cli.parsers import Commands, Parser, text
from openbank.config import Settings

EVERY_SECONDS = 1.0


def add(commands: Commands) -> None:
    commands.add_parser(
        "top",
        help="watch a bank on one screen",
        description="Shows a running bank on one screen, until q or Ctrl-C: its log, views, watches and sinks, the last"
        " refusals, and the balances of chosen accounts.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    parser.add_argument(
        "--metrics",
        type=_url,
        required=True,
        metavar="URL",
        help="where the bank serves its metrics, such as http://127.0.0.1:9464/metrics (serve --metrics-listen)",
    )
    parser.add_argument(
        "--account",
        type=text,
        action="append",
        default=[],
        metavar="ID",
        help="show the balances of this account; may be repeated",
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=EVERY_SECONDS,
        metavar="SECONDS",
        help=f"how often the metrics are read (default: {EVERY_SECONDS:g})",
    )
    add_connection(parser)
    parser.add_argument("--color", choices=COLORS, default="auto", help="auto: unless NO_COLOR is set")
    parser.set_defaults(run=_run)


def _run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.top.program import top

    top(connection(settings, flags), flags.metrics, flags.account, flags.every, flags.color)
    return 0


def _url(url: str) -> str:
    if not url.startswith(("http://", "https://")) or "@" in url:
        raise argparse.ArgumentTypeError("must be http://HOST:PORT/metrics, without a user")
    return text(url)

"""`openbank tail`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.connection import add_connection, connection
from openbank.cli.output.flags import COLORS, TIME_FORMATS
from openbank.cli.parsers import Commands, path, text
from openbank.config import Settings


def add(commands: Commands) -> None:
    commands.add_parser(
        "tail",
        help="print events as they come",
        description="Prints events as they come, until Ctrl-C. After a lost connection it reconnects and continues"
        " where it was: no event is left out, and none comes twice.",
        fill=_add_flags,
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("feed", choices=("accounts", "persons"), help="whose events")
    add_connection(parser)
    for flag, what in (
        ("--account", "only this account's"),
        ("--person", "only this person's; for persons"),
        ("--owner", "only those of this person's accounts"),
    ):
        parser.add_argument(flag, type=text, metavar="ID", action="append", default=[], help=f"{what}; may be repeated")
    parser.add_argument(
        "--type",
        type=text,
        action="append",
        default=[],
        help="only of this type, such as MONEY_DEPOSITED; may be repeated",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        default="live",
        help="beginning, live, or a time such as 2026-11-23T15:25Z (default: live)",
    )
    parser.add_argument(
        "--resume",
        type=path,
        metavar="FILE",
        help="keep the reader's position in FILE, and continue there the next time; --from counts for the first",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object a line")
    parser.add_argument("-o", "--output", choices=("table", "json", "jsonl"), help="table: text; json and jsonl: json")
    parser.add_argument("--color", choices=COLORS, default="auto", help="auto: on a terminal, unless NO_COLOR is set")
    parser.add_argument("--time-format", choices=TIME_FORMATS, default="utc", help="of times in text (default: utc)")
    parser.add_argument("--until-caught-up", action="store_true", help="end once there are no more events, for scripts")
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.tail.follow import follow
    from openbank.cli.tail.request import TailOptions

    follow(
        TailOptions(
            feed=flags.feed,
            bank=connection(settings, flags),
            accounts=flags.account,
            persons=flags.person,
            owners=flags.owner,
            types=flags.type,
            start=flags.start,
            resume=flags.resume,
            format="json" if flags.output in ("json", "jsonl") else "text" if flags.output else flags.format,
            color=flags.color,
            time_format=flags.time_format,
            until_caught_up=flags.until_caught_up,
        )
    )
    return 0

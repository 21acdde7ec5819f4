"""`openbank access`"""

from __future__ import annotations

import argparse

from openbank.cli.parsers import Commands, Parser, path, text
from openbank.config import Settings


def add(commands: Commands) -> None:
    commands.add_parser(
        "access",
        help="make keys for callers, and try an access file",
        description="Works on access files (openbank serve --access FILE) without calling a bank.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    making = actions.add_parser(
        "new-key",
        help="make a pre-shared key",
        description="Prints the entry of a key for the access file, and once, on standard error, the key itself.",
    )
    making.add_argument("name", metavar="NAME", help="of the caller, in logs and events")
    making.add_argument("--role", action="append", required=True, metavar="ROLE", help="may be repeated")
    making.add_argument("--owner", metavar="PERSON", help="the id of the caller's person, for a role such as customer")
    making.add_argument("--expires", metavar="TIME", help="such as 2027-01-01T00:00:00Z (default: never)")
    making.add_argument(
        "--key-file", type=path, metavar="FILE", help="write the key to a new file, and do not print it"
    )
    checking = actions.add_parser(
        "check",
        help="check an access file",
        description="Prints everything that is wrong in an access file. Exit code 1 if anything is.",
    )
    explaining = actions.add_parser(
        "explain",
        help="say whether a caller may call a method",
        description="Says what an access file lets a caller do. Exit code 1 if the caller may not call the method.",
    )
    for each in (checking, explaining):
        each.add_argument("file", type=path, metavar="FILE")
    explaining.add_argument(
        "--as",
        dest="caller",
        type=text,
        required=True,
        metavar="CALLER",
        help="key:NAME, cert:NAME (a SPIFFE id or a DNS name), jwt:ISSUER|SUBJECT or local",
    )
    explaining.add_argument("--claims", type=path, metavar="FILE", help="the claims of the caller's token, as JSON")
    explaining.add_argument("method", type=text, metavar="METHOD", help="such as Withdraw")
    explaining.add_argument("id", type=text, metavar="ID", nargs="?", help="of the account or person that it is about")
    for each in (making, checking, explaining):
        each.set_defaults(run=_run)


def _run(_: Settings, flags: argparse.Namespace) -> int:
    from openbank.cli.access.actions import ACTIONS

    return ACTIONS[flags.action](flags)

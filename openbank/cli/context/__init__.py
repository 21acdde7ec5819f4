"""`openbank context`"""

from __future__ import annotations

import argparse

from openbank.cli.connection import add_connection
from openbank.cli.output.flags import add_output
from openbank.cli.parsers import Commands, Parser
from openbank.config import Settings


def add(commands: Commands) -> None:
    commands.add_parser(
        "context",
        help="give banks names, and choose the one that commands call",
        description="Keeps banks by name in openbank/config.toml, in XDG_CONFIG_HOME or ~/.config. A command calls the"
        " current one unless it has --context or --target. The file names the file of a token, never the token.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    adding = actions.add_parser("add", help="keep how a bank is called")
    add_connection(adding, context=False)
    adding.add_argument("--replace", action="store_true", help="also if there is a context of this name")
    using = actions.add_parser("use", help="choose the bank that commands call from now on")
    removing = actions.add_parser("remove", help="forget a bank")
    listing = actions.add_parser("list", help="print all contexts; the current one has a star")
    add_output(listing)
    for each in (adding, removing):
        each.add_argument("name", type=_name, metavar="NAME")
    using.add_argument("name", type=_name, metavar="NAME", nargs="?")
    using.add_argument("--none", action="store_true", help="call the bank that listens here")
    for each in (adding, using, removing, listing):
        each.set_defaults(run=_run)


def _run(_: Settings, flags: argparse.Namespace) -> int:
    from openbank.cli.context.actions import ACTIONS

    return ACTIONS[flags.action](flags)


def _name(text: str) -> str:
    from openbank.cli.contexts import check_name

    try:
        return check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

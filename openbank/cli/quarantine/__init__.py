"""`openbank quarantine`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.parsers import Commands, add_target, revision, text
from openbank.cli.terminal import shown
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "quarantine",
        help="see which persons and accounts have stored events that are not believed, and decide about them",
        description="Asks a running bank about quarantined aggregates: persons and accounts whose stored events do not"
        " follow from one another. Their commands and reads are refused; all others are unaffected.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="all quarantined aggregates")
    show = actions.add_parser("show", help="one quarantined aggregate")
    retry = actions.add_parser("retry", help="check an aggregate's events again, after the cause was removed")
    skip = actions.add_parser("skip", help="declare the first event that is not believed to be none of the bank's")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("aggregate", type=text, metavar="AGGREGATE", nargs="?", default="", help="such as account-1234")
    which.add_argument("--all", action="store_true", help="everything that is quarantined")
    for action in (show, skip):
        action.add_argument("aggregate", type=text, metavar="AGGREGATE", help="such as account-1234")
    skip.add_argument(
        "--revision", type=revision, metavar="REVISION", help="only if this is the first event that is not believed"
    )
    for action in (listing, show, retry, skip):
        add_target(action)
        action.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.quarantine.ask import Wanted, ask

    wanted = Wanted(
        target=flags.target or settings.listen,
        action=flags.action,
        aggregate=getattr(flags, "aggregate", ""),
        revision=getattr(flags, "revision", None),
    )
    for line in ask(wanted):
        print(shown(line))
    return 0

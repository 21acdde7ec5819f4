"""`openbank sinks`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.parsers import Commands, add_target, revision, text
from openbank.cli.terminal import shown
from openbank.config import Settings


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "sinks",
        help="see where integration events are sent, and what to do about those that are refused",
        description="Asks a running bank about its sinks.",
    )
    _add_actions(parser)


def _add_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="all sinks: state, how far behind, how much is parked")
    show = actions.add_parser("show", help="one sink, and what is parked")
    retry = actions.add_parser("retry", help="send a parked aggregate's events again, from the first the sink lacks")
    skip = actions.add_parser("skip", help="leave out the first event the sink lacks, and send the rest")
    park = actions.add_parser(
        "park", help="hold back an aggregate's events that the sink fails on, and send all others"
    )
    for action in (show, retry, skip, park):
        action.add_argument("sink_name", type=text, metavar="NAME", help="of the sink")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("aggregate", type=text, metavar="AGGREGATE", nargs="?", default="", help="such as account-1234")
    which.add_argument("--all", action="store_true", help="everything that is parked")
    skip.add_argument("aggregate", type=text, metavar="AGGREGATE", help="such as account-1234")
    skip.add_argument("--all", action="store_true", help="leave out all events recorded until now, and send later ones")
    park.add_argument("aggregate", type=text, metavar="AGGREGATE", help="such as account-1234")
    skip.add_argument(
        "--revision", type=revision, metavar="REVISION", help="only if this is the first event that the sink lacks"
    )
    for action in (listing, show, retry, skip, park):
        add_target(action)
        action.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.sinks.ask import Wanted, ask

    wanted = Wanted(
        target=flags.target or settings.listen,
        action=flags.action,
        sink=getattr(flags, "sink_name", ""),
        aggregate=getattr(flags, "aggregate", ""),
        all=getattr(flags, "all", False),
        revision=getattr(flags, "revision", None),
    )
    for line in ask(wanted):
        print(shown(line))
    return 0

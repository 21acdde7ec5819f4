"""`openbank sinks`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.connection import add_connection, connection
from openbank.cli.parsers import Commands, add_aggregate, add_aggregate_or_all, add_revision, text
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
    add_aggregate_or_all(retry, "everything that is parked")
    for action in (skip, park):
        add_aggregate(action)
    skip.add_argument("--all", action="store_true", help="leave out all events recorded until now, and send later ones")
    add_revision(skip, "only if this is the first event that the sink lacks")
    for action in (listing, show, retry, skip, park):
        add_connection(action)
        action.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.sinks.actions import ask

    return ask(connection(settings, flags), flags)

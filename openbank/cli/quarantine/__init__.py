"""`openbank quarantine`"""

from __future__ import annotations

import argparse

from openbank.cli import grpc_log
from openbank.cli.connection import add_connection, connection
from openbank.cli.parsers import Commands, add_aggregate, add_aggregate_or_all, add_revision
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
    skip = actions.add_parser("skip", help="declare that the first event that is not believed is not the bank's")
    add_aggregate_or_all(retry, "everything that is quarantined")
    for action in (show, skip):
        add_aggregate(action)
    add_revision(skip, "only if this is the first event that is not believed")
    for action in (listing, show, retry, skip):
        add_connection(action)
        action.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.cli.quarantine.actions import ask

    return ask(connection(settings, flags), flags)

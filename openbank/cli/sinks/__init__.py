"""`openbank sinks`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.parsers import Commands, add_aggregate, add_aggregate_or_all, add_revision
from openbank.cli.verbs import Verb, add_noun, argument

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

SINK = argument("sink_name", metavar="NAME", help="of the sink")
ALL_EVENTS = argument("--all", action="store_true", help="leave out all events recorded until now, and send later ones")
# Scripts read the text, so that it stays what is printed where the output is no terminal.
VERBS = (
    Verb("list", "all sinks: state, how far behind, how much is parked", (), elsewhere="table"),
    Verb("show", "one sink, and what is parked", (SINK,), elsewhere="table"),
    Verb(
        "retry",
        "send a parked aggregate's events again, from the first the sink lacks",
        (SINK, lambda parser: add_aggregate_or_all(parser, "everything that is parked")),
        elsewhere="table",
    ),
    Verb(
        "skip",
        "leave out the first event the sink lacks, and send the rest",
        (
            SINK,
            add_aggregate,
            ALL_EVENTS,
            lambda parser: add_revision(parser, "only if this is the first event that the sink lacks"),
        ),
        elsewhere="table",
    ),
    Verb(
        "park",
        "hold back an aggregate's events that the sink fails on, and send all others",
        (SINK, add_aggregate),
        elsewhere="table",
    ),
)


def add(commands: Commands) -> None:
    add_noun(
        commands,
        "sinks",
        "see where integration events are sent, and what to do about those that are refused",
        VERBS,
        _actions,
    )


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.sinks.actions import ACTIONS

    return ACTIONS

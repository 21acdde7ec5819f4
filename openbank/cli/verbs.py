"""Commands that call a bank, as rows: a noun such as `account`, and its verbs such as `deposit`.

A new command is a row here and a function in the noun's `actions`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from openbank.cli import grpc_log
from openbank.cli.arguments import amount, count, currency, label, seconds
from openbank.cli.connection import add_connection
from openbank.cli.output.flags import add_output
from openbank.cli.parsers import Commands, Parser, revision, text
from openbank.config import Settings

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

TIMEOUT_SECONDS = 20.0


Argument: TypeAlias = "Callable[[Parser], object]"
"""Adds an argument to a parser."""
Actions: TypeAlias = "Callable[[], Mapping[str, BankAction]]"
"""Imports the functions of verbs, and returns them by name."""


def argument(*names: str, **options: Any) -> Argument:
    """An argument as argparse has it; unless `options` say otherwise, it is text that is sent to the bank."""
    typed = options if {"type", "action"} & options.keys() else {"type": text, **options}
    return lambda parser: parser.add_argument(*names, **typed)


MONEY = (
    argument("amount", type=amount, metavar="AMOUNT", help="such as 25.00"),
    argument("currency", type=currency, metavar="CURRENCY", help="of ISO 4217, such as EUR"),
)
DESCRIPTION = argument("--description", default="", metavar="TEXT", help="kept with the movement")
TERMS = (
    DESCRIPTION,
    argument("--reference", default="", metavar="TEXT", help="your own name for it, such as the number of an order"),
    argument(
        "--label",
        type=label,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="kept with the movement; may be repeated",
    ),
)
LIST = (argument("--limit", type=count, metavar="COUNT", help="print at most this many (default: all)"),)
QUERY = (
    argument(
        "--consistency-token", default="", metavar="TOKEN", help="of an earlier answer: wait until its change is seen"
    ),
)
MUTATION = (
    argument(
        "--request-id",
        default="",
        metavar="UUID",
        help="of an earlier try of the same command, which is then done once (default: a new one)",
    ),
    argument("--validate-only", action="store_true", help="say what would be done, or refused, and do nothing"),
)
REVISION = argument(
    "--expected-revision", type=revision, metavar="REVISION", help="only if this is the revision it has now"
)


OVERDRAW = argument("--allow-overdraw", action="store_true", help="also if the account no longer has the money")


class Verb(NamedTuple):
    name: str
    help: str
    arguments: Sequence[Argument]
    elsewhere: str = "json"
    """The format where the output is no terminal."""


def add_noun(
    commands: Commands, name: str, help: str, verbs: Sequence[Verb], actions: Actions, description: str | None = None
) -> None:
    commands.add_parser(
        name, help=help, description=description, fill=partial(_add_verbs, verbs=verbs, actions=actions)
    )


def _add_verbs(parser: Parser, verbs: Sequence[Verb], actions: Actions) -> None:
    subparsers: Commands = parser.add_subparsers(required=True, metavar="ACTION", dest="verb")
    for verb in verbs:
        add_verb(subparsers, verb, actions)


def add_verb(commands: Commands, verb: Verb, actions: Actions) -> None:
    commands.add_parser(
        verb.name,
        help=verb.help,
        description=f"{verb.help[0].upper()}{verb.help[1:]}.",
        fill=partial(_fill, verb=verb, actions=actions),
    )


def _fill(parser: Parser, verb: Verb, actions: Actions) -> None:
    for add in verb.arguments:
        add(parser)
    add_connection(parser)
    add_timeout(parser)
    add_output(parser, verb.elsewhere)
    parser.set_defaults(run=partial(_run, name=verb.name, actions=actions))


def add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"how long all tries together, or a page of a list, may take (default: {TIMEOUT_SECONDS:g})",
    )


def _run(settings: Settings, flags: argparse.Namespace, name: str, actions: Actions) -> int:
    grpc_log.silence()
    from openbank.cli.bank import run

    return run(actions()[name], settings, flags)

"""`openbank person`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.arguments import day
from openbank.cli.parsers import Commands
from openbank.cli.verbs import LIST, MUTATION, QUERY, REVISION, Verb, add_noun, argument

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

PERSON = argument("person", metavar="PERSON", help="id of the person")
ADDRESS = (
    argument("--street", default="", help="with the number of the house"),
    argument("--city", default=""),
    argument("--postal-code", default="", metavar="CODE"),
    argument("--country", default=""),
)
VERBS = (
    Verb(
        "register",
        "register a person, who can then own accounts",
        (
            argument("--first-name", default="", metavar="NAME"),
            argument("--last-name", default="", metavar="NAME"),
            argument("--nationality", default=""),
            argument("--gender", default="unspecified", choices=("male", "female", "other")),
            argument("--date-of-birth", type=day, metavar="DATE", help="such as 1990-12-31"),
            argument("--email", default=""),
            *ADDRESS,
            argument("--id", default="", metavar="PERSON", help="id of the person (default: made by the bank)"),
            *MUTATION,
        ),
    ),
    Verb("show", "print a person", (PERSON, *QUERY)),
    Verb(
        "update-address",
        "replace a person's address, all parts of it",
        (PERSON, *ADDRESS, REVISION, *MUTATION),
    ),
    Verb("list", "print all persons, in the order of their registration", (*LIST, *QUERY)),
)


def add(commands: Commands) -> None:
    add_noun(commands, "person", "register persons, print them and change addresses", VERBS, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.person.actions import ACTIONS

    return ACTIONS

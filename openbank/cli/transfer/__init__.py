"""`openbank transfer` and `openbank transfers`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.parsers import Commands
from openbank.cli.verbs import (
    DESCRIPTION,
    LIST,
    MONEY,
    MUTATION,
    OVERDRAW,
    QUERY,
    REVISION,
    TERMS,
    Verb,
    add_noun,
    add_verb,
    argument,
)

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

TRANSFER = Verb(
    "transfer",
    "move money from one account to another",
    (
        argument("source", metavar="FROM", help="id of the account that pays"),
        argument("destination", metavar="TO", help="id of the account that is paid"),
        *MONEY,
        argument("--to-number", action="store_true", help="TO is an account number, not an id"),
        argument("--hold", default="", metavar="HOLD", help="take the money out of this hold of FROM"),
        *TERMS,
        REVISION,
        *MUTATION,
    ),
)


ID = argument("transfer", metavar="TRANSFER", help="id of the transfer")
STATES = ("in_transit", "completed", "returning", "returned")
TRANSFERS = (
    Verb("show", "print a transfer", (ID, *QUERY)),
    Verb(
        "list",
        "print the transfers of an account, to and from it, newest first",
        (
            argument("--account", required=True, metavar="ACCOUNT", help="id of the account"),
            argument("--state", action="append", choices=STATES, default=[], help="only these; may be repeated"),
            *LIST,
            *QUERY,
        ),
    ),
    Verb(
        "reverse",
        "take a completed transfer back, by one of the same amount the other way",
        (ID, OVERDRAW, DESCRIPTION, REVISION, *MUTATION),
    ),
)


def add(commands: Commands) -> None:
    add_verb(commands, TRANSFER, _actions)
    add_noun(commands, "transfers", "print transfers and take them back", TRANSFERS, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.transfer.actions import ACTIONS

    return ACTIONS

"""`openbank transfer`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.parsers import Commands
from openbank.cli.verbs import MONEY, MUTATION, REVISION, TERMS, Verb, add_verb, argument

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


def add(commands: Commands) -> None:
    add_verb(commands, TRANSFER, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.transfer.actions import ACTIONS

    return ACTIONS

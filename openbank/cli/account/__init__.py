"""`openbank account`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.arguments import amount, currency
from openbank.cli.parsers import Commands
from openbank.cli.verbs import DESCRIPTION, LIST, MONEY, MUTATION, QUERY, REVISION, Verb, add_noun, argument

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

ACCOUNT = argument("account", metavar="ACCOUNT", help="id of the account")
REASON = argument("--reason", default="", metavar="TEXT", help="kept with the account")
VERBS = (
    Verb(
        "open",
        "open an account of a registered person",
        (
            argument("--owner", default="", metavar="PERSON", help="id of the owner"),
            argument("--number", default="", metavar="NUMBER", help="account number, as printed"),
            argument("--currency", type=currency, default="", help="of ISO 4217, such as EUR (default: USD)"),
            argument("--deposit", type=amount, metavar="AMOUNT", help="paid in at once, in the account's currency"),
            argument("--id", default="", metavar="ACCOUNT", help="id of the account (default: made by the bank)"),
            *MUTATION,
        ),
    ),
    Verb("deposit", "pay money into an account", (ACCOUNT, *MONEY, DESCRIPTION, REVISION, *MUTATION)),
    Verb("withdraw", "pay money out of an account", (ACCOUNT, *MONEY, DESCRIPTION, REVISION, *MUTATION)),
    Verb(
        "show",
        "print an account",
        (
            argument("account", nargs="?", default="", metavar="ACCOUNT", help="id of the account"),
            argument("--number", default="", metavar="NUMBER", help="account number, instead of the id"),
            *QUERY,
        ),
    ),
    Verb(
        "list",
        "print a person's accounts, in the order of their opening",
        (argument("--owner", required=True, metavar="PERSON", help="id of the owner"), *LIST, *QUERY),
    ),
    Verb(
        "freeze",
        "let an account neither pay nor be paid",
        (
            ACCOUNT,
            argument("--only", choices=("debits", "credits"), help="what is frozen (default: both)"),
            REASON,
            REVISION,
            *MUTATION,
        ),
    ),
    Verb("unfreeze", "let a frozen account pay and be paid again", (ACCOUNT, REVISION, *MUTATION)),
    Verb("close", "close an empty account, permanently", (ACCOUNT, REASON, REVISION, *MUTATION)),
)


def add(commands: Commands) -> None:
    add_noun(commands, "account", "open accounts, move money in and out, freeze and close", VERBS, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.account.actions import ACTIONS

    return ACTIONS

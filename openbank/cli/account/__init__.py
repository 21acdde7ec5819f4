"""`openbank account`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.arguments import amount, currency, label, revisions, time
from openbank.cli.parsers import Commands, revision
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
    argument,
)

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
    Verb("deposit", "pay money into an account", (ACCOUNT, *MONEY, *TERMS, REVISION, *MUTATION)),
    Verb("withdraw", "pay money out of an account", (ACCOUNT, *MONEY, *TERMS, REVISION, *MUTATION)),
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
    Verb(
        "reverse",
        "take a movement back, by one of the same amount the other way",
        (
            ACCOUNT,
            argument("revision", type=revision, metavar="REVISION", help="of the movement: openbank account movements"),
            OVERDRAW,
            DESCRIPTION,
            REVISION,
            *MUTATION,
        ),
    ),
    Verb(
        "statement",
        "print the balances of a period and its movements, oldest first",
        (
            ACCOUNT,
            argument("--from", dest="start", type=time, metavar="TIME", help="belongs to it (default: the beginning)"),
            argument("--to", dest="end", type=time, metavar="TIME", help="does not belong to it (default: now)"),
            argument(
                "--revisions", type=revisions, metavar="FIRST-LAST", help="a period of revisions, instead of times"
            ),
            *LIST,
            *QUERY,
        ),
    ),
    Verb(
        "balance",
        "print the balance of an account as it was",
        (
            ACCOUNT,
            argument("--at", type=time, metavar="TIME", help="such as 2026-11-23T15:25Z"),
            argument("--revision", type=revision, metavar="REVISION", help="after this event"),
            *QUERY,
        ),
    ),
    Verb(
        "movements",
        "print movements, newest first",
        (
            argument("account", nargs="?", default="", metavar="ACCOUNT", help="id of the account"),
            argument("--reference", default="", metavar="TEXT", help="only those with this reference"),
            argument("--label", type=label, metavar="KEY=VALUE", help="only those with this label"),
            *LIST,
            *QUERY,
        ),
    ),
)


def add(commands: Commands) -> None:
    add_noun(commands, "account", "open accounts, move money in and out, freeze and close", VERBS, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.account.actions import ACTIONS

    return ACTIONS

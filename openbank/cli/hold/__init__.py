"""`openbank hold`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.arguments import amount, currency, duration, time
from openbank.cli.parsers import Commands
from openbank.cli.verbs import DESCRIPTION, LIST, MONEY, MUTATION, QUERY, REVISION, TERMS, Verb, add_noun, argument

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

ACCOUNT = argument("account", metavar="ACCOUNT", help="id of the account")
HOLD = argument("hold", metavar="HOLD", help="id of the hold")
STATES = ("open", "captured", "released", "expired")
VERBS = (
    Verb(
        "place",
        "keep money of an account from being spent",
        (
            ACCOUNT,
            *MONEY,
            argument("--ttl", type=duration, metavar="TIME", help="how long, such as 12h (default: 7d)"),
            argument("--expire-time", type=time, metavar="TIME", help="until when, such as 2026-11-23T15:25Z"),
            *TERMS,
            REVISION,
            *MUTATION,
        ),
    ),
    Verb(
        "capture",
        "pay money out of a hold",
        (
            ACCOUNT,
            HOLD,
            argument("amount", type=amount, nargs="?", metavar="AMOUNT", help="(default: all that remains)"),
            argument("currency", type=currency, nargs="?", metavar="CURRENCY", help="of ISO 4217, such as EUR"),
            argument("--release-remainder", action="store_true", help="end the hold, and release what remains"),
            *TERMS,
            REVISION,
            *MUTATION,
        ),
    ),
    Verb("release", "end a hold, so that what remains can be spent", (ACCOUNT, HOLD, DESCRIPTION, REVISION, *MUTATION)),
    Verb("show", "print a hold", (HOLD, *QUERY)),
    Verb(
        "list",
        "print the holds of an account, newest first",
        (
            argument("--account", required=True, metavar="ACCOUNT", help="id of the account"),
            argument(
                "--state",
                action="append",
                choices=STATES,
                default=[],
                help="only holds in this state; may be repeated",
            ),
            *LIST,
            *QUERY,
        ),
    ),
)


def add(commands: Commands) -> None:
    add_noun(commands, "hold", "place, capture and release holds", VERBS, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.hold.actions import ACTIONS

    return ACTIONS

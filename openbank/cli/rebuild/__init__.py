"""`openbank rebuild`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.parsers import Commands
from openbank.cli.verbs import Verb, add_verb, argument

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

REBUILD = Verb(
    "rebuild",
    "build the views of a running bank again, beside those that serve",
    (
        argument("--status", action="store_true", help="say how a rebuild proceeds, and start none"),
        argument("--wait", action="store_true", help="show the progress, and end with the rebuild"),
    ),
    elsewhere="table",
)


def add(commands: Commands) -> None:
    add_verb(commands, REBUILD, _actions)


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.rebuild.actions import ACTIONS

    return ACTIONS

"""`openbank quarantine`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from openbank.cli.parsers import Commands, add_aggregate, add_aggregate_or_all, add_revision
from openbank.cli.verbs import Verb, add_noun

if TYPE_CHECKING:
    from openbank.cli.bank import BankAction

# Scripts read the text, so that it stays what is printed where the output is no terminal.
VERBS = (
    Verb("list", "all quarantined aggregates", (), elsewhere="table"),
    Verb("show", "one quarantined aggregate", (add_aggregate,), elsewhere="table"),
    Verb(
        "retry",
        "check an aggregate's events again, after the cause was removed",
        (lambda parser: add_aggregate_or_all(parser, "everything that is quarantined"),),
        elsewhere="table",
    ),
    Verb(
        "skip",
        "declare that the first event that is not believed is not the bank's",
        (
            add_aggregate,
            lambda parser: add_revision(parser, "only if this is the first event that is not believed"),
        ),
        elsewhere="table",
    ),
)


def add(commands: Commands) -> None:
    add_noun(
        commands,
        "quarantine",
        "see which persons and accounts have stored events that are not believed, and decide about them",
        VERBS,
        _actions,
        description="Asks a running bank about quarantined aggregates: persons and accounts whose stored events do not"
        " follow from one another. Their commands and reads are refused; all others are unaffected.",
    )


def _actions() -> Mapping[str, BankAction]:
    from openbank.cli.quarantine.actions import ACTIONS

    return ACTIONS

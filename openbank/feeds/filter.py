"""Which events a watch lets through, and in which form it tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from openbank.eventstore.streams import ACCOUNT, PERSON
from openbank.eventstore.tail import Entry


class Form(Enum):
    """What an event looks like on the wire. The value is the attribute of an entry that keeps it for all watches."""

    EVENT = "encoded"
    CLOUD_EVENT = "encoded_as_cloud_event"


@dataclass(frozen=True, slots=True)
class Filter:
    """Alternatives within a list, and an event must pass every list. An empty list lets all pass.

    Internal streams have categories of their own and other programs' events have none, so neither ever passes.
    """

    categories: frozenset[str]
    """The kinds of streams, at least one: "person", "account"."""
    persons: frozenset[str] = frozenset()
    """Whom it concerns: the person that it happened to, or the owner of the account."""
    accounts: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    """Stored names: "openbank.accounts.v1.MoneyDeposited"."""
    form: Form = Form.EVENT

    def passes(self, entry: Entry) -> bool:
        return (
            entry.category in self.categories
            and (not self.persons or _person(entry) in self.persons)
            and (not self.accounts or (entry.category == ACCOUNT and entry.id in self.accounts))
            and (not self.types or entry.event.type in self.types)
        )


def _person(entry: Entry) -> str:
    return entry.id if entry.category == PERSON else entry.event.metadata.owner_id

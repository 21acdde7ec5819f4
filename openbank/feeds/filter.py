"""Which events a watch lets through."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.eventstore.tail import Entry


@dataclass(frozen=True, slots=True)
class Filter:
    """Alternatives within a list, and an event must pass every list. An empty list lets all pass.

    Internal streams have categories of their own and other programs' events have none, so neither ever passes.
    """

    category: str
    """The kind of stream: "person" or "account"."""
    ids: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    """Stored names: "openbank.accounts.v1.MoneyDeposited"."""

    def passes(self, entry: Entry) -> bool:
        return (
            entry.category == self.category
            and (not self.ids or entry.id in self.ids)
            and (not self.owners or entry.event.metadata.owner_id in self.owners)
            and (not self.types or entry.event.type in self.types)
        )

"""Which events a watch sends, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from openbank.eventstore.streams import ACCOUNT, PERSON
from openbank.following.entry import Entry

_NOBODY = " "
"""Is no id. What names no owner, such as an event that is not believed, has an empty one, and is not for everybody."""


class Form(Enum):
    """The form of an event on the wire. `Entry.encoded` keeps each form for all watches."""

    EVENT = "event"
    """Without its actor, which not everybody may see."""
    EVENT_WITH_ACTOR = "event with actor"
    CLOUD_EVENT = "cloud event"

    # Looked up for each event and watch; the hash of Enum is a call into Python.
    __hash__ = object.__hash__


class About(NamedTuple):
    """What a group of events is about."""

    categories: frozenset[str]
    persons: frozenset[str]
    accounts: frozenset[str]
    types: frozenset[str]
    notices: bool
    """Whether one of them concerns filters of any type: see `_has_any_type`."""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> About:
        seen = {(entry.category, _person(entry), entry.id, entry.event.type) for entry in entries}
        parts = map(frozenset, zip(*seen, strict=True)) if seen else [frozenset[str]()] * 4
        categories, persons, accounts, types = parts
        return cls(categories, persons, accounts, types, any(map(_has_any_type, entries)))


@dataclass(frozen=True, slots=True)
class Filter:
    """Alternatives within a list, and an event must pass every list. An empty list lets all pass.

    Internal streams have categories of their own and other programs' events have none, so neither ever passes.
    """

    categories: frozenset[str]
    """The kinds of streams, at least one: "person", "account"."""
    persons: frozenset[str] = frozenset()
    """Ids of persons: the person of the event, or the owner of the account."""
    accounts: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    """Stored names: "openbank.accounts.v1.MoneyDeposited"."""
    form: Form = Form.EVENT

    def of(self, person_id: str) -> Filter:
        """What of it belongs to this person, which is nothing where it names others only."""
        own = person_id and (not self.persons or person_id in self.persons)
        return replace(self, persons=frozenset({person_id if own else _NOBODY}))

    @property
    def names_some(self) -> bool:
        """Whether only events of some accounts or persons can pass."""
        return bool(self.accounts or self.persons)

    @property
    def is_open(self) -> bool:
        """Whether all events of its categories pass."""
        return not (self.accounts or self.persons or self.types)

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries that pass."""
        if self.is_open:
            categories = self.categories
            return [entry for entry in entries if entry.category in categories]
        return [entry for entry in entries if self.passes(entry)]

    def passes(self, entry: Entry) -> bool:
        return (
            entry.category in self.categories
            and (not self.persons or _person(entry) in self.persons)
            and (not self.accounts or (entry.category == ACCOUNT and entry.id in self.accounts))
            and (not self.types or entry.event.type in self.types or _has_any_type(entry))
        )

    def may_pass(self, about: About) -> bool:
        """Whether one of these events may pass. False is certain, so that the events need not be checked one by one."""
        return (
            not self.categories.isdisjoint(about.categories)
            and not (self.persons and self.persons.isdisjoint(about.persons))
            and not (self.accounts and self.accounts.isdisjoint(about.accounts))
            and not (self.types and self.types.isdisjoint(about.types) and not about.notices)
        )


def _has_any_type(entry: Entry) -> bool:
    """Whether the entry is a notice of a quarantine, or an event whose meaning only a newer version knows."""
    return entry.notice or entry.newer is not None


def _person(entry: Entry) -> str:
    return entry.id if entry.category == PERSON else entry.event.metadata.owner_id

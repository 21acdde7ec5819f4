"""The log as it is read past the bank, to hold what watches were given against."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import TypeVar
from uuid import UUID

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.extensions import HasTokenKey
from openbank.eventstore.port import BEGINNING, RecordedEvent
from openbank.eventstore.streams import PERSON, split
from openbank.eventstore.token import Tokens
from tests.faults.told import Broken

PATIENCE_SECONDS = 120.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a watch is to let through: the contract's filter, in the words of the log."""

    categories: frozenset[str]
    ids: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    as_cloud_events: bool = False


class Reference:
    """All events so far, in order, a few bytes for each."""

    def __init__(self, store: HasTokenKey) -> None:
        self.tokens = Tokens(store)
        self._store = store
        self._through = BEGINNING
        self._positions = array("q")
        self._times = array("q")
        self._keys = array("q")
        """A hash of each event's id, as long as this process lives."""
        self._facts: list[tuple[str, str, str, str]] = []
        """Category, id, owner and type. Interned: there are few of them."""
        self._reading = asyncio.Lock()

    async def head(self) -> int:
        """The position of the log's end, asked at this moment."""
        return (await _answered(self._store.head)).position

    async def reach(self, position: int) -> None:
        async with self._reading:
            while self._through.position < position:
                page = await _answered(partial(self._store.read_log, self._through))
                for event in page.events:
                    self._take(event)
                self._through = page.through

    async def position(self, token: str) -> int:
        return (await self.tokens.decode(token)).position

    def between(self, after: int, through: int, wish: Wish) -> array[int]:
        """The keys of the events that a watch from one place to another is to be given."""
        start, end = bisect_right(self._positions, after), bisect_right(self._positions, through)
        keys, facts = self._keys, self._facts
        return array("q", [keys[number] for number in range(start, end) if _passes(facts[number], wish)])

    def starts_at(self, after: int, time: int) -> bool:
        """Whether what follows a place begins with the first event of a time (microseconds) or later."""
        first = bisect_right(self._positions, after)
        return all(before < time for before in self._times[:first]) and self._times[first : first + 1][0] >= time

    def count(self, wish: Wish) -> int:
        return sum(_passes(facts, wish) for facts in self._facts)

    def some_time(self, share: float) -> int | None:
        """When the event was recorded that has this share of the log before it; None for an empty log."""
        return self._times[int(share * (len(self._times) - 1))] if self._times else None

    def _take(self, event: RecordedEvent) -> None:
        category, identifier = split(event.stream)
        facts = (category, identifier, event.metadata.owner_id, event.type)
        self._positions.append(event.position)
        self._times.append(event.metadata.record_time)
        self._keys.append(key(str(UUID(bytes=event.id))))
        self._facts.append(tuple(map(intern, facts)))  # type: ignore[arg-type]


def key(event_id: str) -> int:
    return hash(event_id)


def hold_against(record: Sequence[int], expected: Sequence[int], whose: str) -> None:
    """Raises Broken where a record is not the log."""
    if record == expected:
        return
    pairs = zip(record, expected, strict=False)
    number = next((number for number, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(record), len(expected)))
    given = set(record)
    missing, twice = sum(one not in given for one in expected), len(record) - len(given)
    raise Broken(
        f"{whose}: {len(record)} events instead of {len(expected)}, another one at {number};"
        f" {missing} missing, {twice} twice"
    )


async def _answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Asked again while the machine is too busy for an answer: it is not the store that is held to its word here."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.2)


def _passes(facts: tuple[str, str, str, str], wish: Wish) -> bool:
    category, identifier, owner, type = facts
    return (
        category in wish.categories
        and (not wish.ids or identifier in wish.ids)
        and (not wish.owners or (identifier if category == PERSON else owner) in wish.owners)
        and (not wish.types or type in wish.types)
    )

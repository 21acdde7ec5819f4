"""The collections of the views: those of each generation, with their indexes, and what is written to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from pymongo import DESCENDING, UpdateOne
from pymongo.read_concern import ReadConcern

from openbank.mongodb.link import Documents, MongoLink
from openbank.views.changes import Change, Grouped
from openbank.views.mongo.documents import KNOWN_TOTALS, known_totals
from openbank.views.mongo.writes import ACCOUNTS, INDEXES, MINUTES, write_bulk, writes_of
from openbank.views.port import NO_MINUTE
from openbank.views.totals import Added, add_up, gaps

BULK_WRITES_MAX = 100
"""Writes in one message, so that what others ask need not wait long."""
WRITE_SECONDS = 5.0

_OF_A_GENERATION = re.compile(rf"(?:{'|'.join(INDEXES)})_(\d+)")


class Generations:
    def __init__(self, link: MongoLink) -> None:
        self._link = link

    def documents(self, name: str, generation: int) -> Documents:
        return self._link.documents(f"{name}_{generation}")

    async def index(self, generation: int) -> None:
        """Makes the indexes, and with them the collections, that are not there."""
        for name, indexes in INDEXES.items():
            for keys in indexes:
                await self._link.call(partial(self._index, name, generation, keys), WRITE_SECONDS)

    async def write(self, changes: Sequence[Change], generation: int) -> None:
        grouped = Grouped(changes)
        for name, writes in writes_of(grouped, await self._add_up(grouped, generation)):
            await self._write(self.documents(name, generation), writes)

    async def _add_up(self, grouped: Grouped, generation: int) -> Added:
        """The events that are not there yet. An account's are there up to its revision."""
        accounts = list({event.account_id for event in grouped.events})
        if not accounts:
            return []
        # What a failover may take back is not there.
        known = self._accounts(generation, "majority")
        wanted = {"_id": {"$in": accounts}}
        found = await self._link.call(lambda: known.find(wanted, KNOWN_TOTALS).to_list(None), WRITE_SECONDS)
        totals = {document["_id"]: known_totals(document) for document in found}
        for account_id in gaps(grouped.events, totals):
            # Another program's events are between, or the answer was that of a primary which was replaced.
            latest = self._accounts(generation, "linearizable")
            one = await self._link.call(partial(latest.find_one, {"_id": account_id}, KNOWN_TOTALS), WRITE_SECONDS)
            if one is not None:
                totals[account_id] = known_totals(one)
        return add_up(grouped.events, totals)

    def _accounts(self, generation: int, level: str) -> Documents:
        return self.documents(ACCOUNTS, generation).with_options(read_concern=ReadConcern(level))

    async def last_minute(self, generation: int) -> int:
        minutes = self.documents(MINUTES, generation)
        found = await self._link.call(lambda: minutes.find_one(sort=[("_id", DESCENDING)]))
        return int(found["_id"]) if found else NO_MINUTE

    async def next_after(self, generation: int) -> int:
        """One that there was nothing of yet."""
        return 1 + max({generation, *await self._there()})

    async def drop_before(self, generation: int) -> None:
        for old in await self._there():
            if old < generation:
                await self.drop(old)

    async def drop(self, generation: int) -> None:
        for name in INDEXES:
            await self._link.call(self.documents(name, generation).drop, WRITE_SECONDS)

    async def _there(self) -> set[int]:
        names = await self._link.probe(self._link.database.list_collection_names)
        return {int(match[1]) for name in names if (match := _OF_A_GENERATION.fullmatch(name))}

    async def _index(self, name: str, generation: int, keys: dict[str, int]) -> None:
        await self.documents(name, generation).create_index(list(keys.items()))

    async def _write(self, collection: Documents, writes: Sequence[UpdateOne]) -> None:
        for start in range(0, len(writes), BULK_WRITES_MAX):
            some = writes[start : start + BULK_WRITES_MAX]
            await self._link.call(partial(write_bulk, collection, some), WRITE_SECONDS)

"""The views in MongoDB, compared with rebuilt views, also while banks are served from them.

Nothing is written. Documents are read in pages. One that has changed since is read again, beside views that have been
brought forward meanwhile; documents have revisions, so the comparison needs no consistent snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bson import Int64

from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.eventstore.streams import account_stream, person_stream, split
from openbank.mongodb.link import Document
from openbank.upkeep.verify.views import CatchUp
from openbank.views.changes import Change
from openbank.views.mongo import documents, event_documents, hold_documents
from openbank.views.mongo.checkpoint import Checkpoint
from openbank.views.mongo.link import ViewsLink
from openbank.views.mongo.writes import ACCOUNTS, EVENTS, HOLDS, PERSONS, REVERSALS, TERMS, TRANSFERS
from openbank.views.port import Listed, ListedTransfer, LogId
from openbank.views.sqlite import MadeViews

PAGE = 500
ROUNDS = 5
"""How often documents that change all the time are read; after that they are taken for right."""
PAUSE_SECONDS = 0.2
COUNT_SECONDS = 600.0

_READ: dict[str, Callable[[Document], Listed[Any]]] = {
    "persons": documents.person,
    "accounts": documents.account,
    "holds": hold_documents.hold,
}
_COLLECTIONS = {
    "persons": PERSONS,
    "accounts": ACCOUNTS,
    "holds": HOLDS,
    "account_events": EVENTS,
    "movement_terms": TERMS,
    "transfers": TRANSFERS,
    "reversals": REVERSALS,
}


class MongoViewsCompared:
    def __init__(self, uri: str, made: MadeViews) -> None:
        """Raises ViewsUnavailable."""
        self._link = ViewsLink(uri)
        self._checkpoint = Checkpoint(self._link)
        self._made = made

    async def load(self) -> None:
        """Asks how far the views are. Raises ViewsUnavailable, StoreRefused."""
        await self._checkpoint.load()

    def rebuild(self, changes: Sequence[Change], through: LogPosition) -> None:
        self._made.rebuild(changes, through)

    def place(self) -> tuple[LogId | None, LogPosition]:
        """As `load` found it."""
        return self._checkpoint.log, self._checkpoint.place

    async def differences(self, catch_up: CatchUp, revision_of: Callable[[str], int]) -> Mapping[str, int] | None:
        generation = self._checkpoint.generation
        try:
            wrong = await self._differences(catch_up, revision_of)
        finally:
            await self.load()
        return wrong if self._checkpoint.generation == generation else None

    async def _differences(self, catch_up: CatchUp, revision_of: Callable[[str], int]) -> Mapping[str, int]:
        through, missing = self._checkpoint.place.position, dict.fromkeys(_COLLECTIONS, 0)
        counts = {table: self._made.count(table) for table in _COLLECTIONS}
        wrong = dict.fromkeys(_COLLECTIONS, 0)
        moved: dict[str, list[str]] = {}
        for table in _READ:
            moved[table] = await self._compare_aggregates(table, wrong, missing)
        await self._compare_events(wrong, missing)
        await self._compare_terms(wrong, missing)
        await self._compare_reversals(wrong, missing)
        moved_on = await self._compare_transfers(wrong, missing)
        for table, name in _COLLECTIONS.items():
            there = await self._count(name, through)
            wrong[table] += max(0, there - (counts[table] - missing[table]))
        for table, ids in moved.items():
            wrong[table] += await self._compare_moved(table, ids, catch_up, revision_of)
        wrong["transfers"] += await self._compare_moved_transfers(moved_on, catch_up)
        return wrong

    async def _compare_aggregates(self, table: str, wrong: dict[str, int], missing: dict[str, int]) -> list[str]:
        """The ids of those whose documents have changed since."""
        moved, after = [], 0
        while page := self._made.aggregates(table, after, PAGE):
            found = await self._find(_COLLECTIONS[table], [_id(one) for one in page])
            for made in page:
                document = found.get(_id(made))
                missing[table] += document is None
                if document is not None and _revision(document) > made.resource.revision:
                    moved.append(_id(made))
                else:
                    wrong[table] += document is None or _read(_READ[table], document) != made
            after = page[-1].position
        return moved

    async def _compare_events(self, wrong: dict[str, int], missing: dict[str, int]) -> None:
        after = 0
        while page := self._made.events(after, PAGE):
            found = await self._find(EVENTS, [_key(event) for event, *_ in page])
            for made in page:
                document = found.get(_key(made[0]))
                missing["account_events"] += document is None
                wrong["account_events"] += document is None or _read(event_documents.whole, document) != made
            after = page[-1][0].position

    async def _compare_terms(self, wrong: dict[str, int], missing: dict[str, int]) -> None:
        after = (b"", 0)
        while page := self._made.terms(after, PAGE):
            names = [event_documents.term_name(*made) for made in page]
            found = await self._find(TERMS, names)
            absent = sum(name not in found for name in names)
            missing["movement_terms"] += absent
            wrong["movement_terms"] += absent
            after = page[-1]

    async def _compare_reversals(self, wrong: dict[str, int], missing: dict[str, int]) -> None:
        after = 0
        while page := self._made.reversals(after, PAGE):
            ids = {documents.movement_id(made.account_id, made.revision): made for made in page}
            found = await self._find(REVERSALS, list(ids))
            for id, made in ids.items():
                document = found.get(id)
                missing["reversals"] += document is None
                wrong["reversals"] += document is None or document.get("reversed_by") != made.reversed_by
            after = page[-1].position

    async def _compare_transfers(self, wrong: dict[str, int], missing: dict[str, int]) -> list[str]:
        """The ids of those that have moved on since."""
        moved, after = [], ""
        while page := self._made.transfers(after, PAGE):
            found = await self._find(TRANSFERS, [made.transfer.transfer_id for made in page])
            for made in page:
                document = found.get(made.transfer.transfer_id)
                missing["transfers"] += document is None
                if _has_moved_on(document, made):
                    moved.append(made.transfer.transfer_id)
                else:
                    wrong["transfers"] += document is None or _read(documents.transfer, document) != made
            after = page[-1].transfer.transfer_id
        return moved

    async def _compare_moved_transfers(self, ids: Sequence[str], catch_up: CatchUp) -> int:
        """A transfer moves on three times at most, so those that differ after some rounds are wrong."""
        wrong = 0
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            for _ in range(ROUNDS):
                found = await self._find(TRANSFERS, some)
                await asyncio.sleep(PAUSE_SECONDS)
                await self.load()
                await catch_up()
                some = [
                    name for name in some if _read(documents.transfer, found.get(name, {})) != self._made.transfer(name)
                ]
                if not some:
                    break
            wrong += len(some)
        return wrong

    async def _compare_moved(
        self,
        table: str,
        ids: Sequence[str],
        catch_up: CatchUp,
        revision_of: Callable[[str], int],
    ) -> int:
        wrong = 0
        for _ in range(ROUNDS):
            again: list[str] = []
            for start in range(0, len(ids), PAGE):
                some = ids[start : start + PAGE]
                found = await self._find(_COLLECTIONS[table], some)
                await asyncio.sleep(PAUSE_SECONDS)
                await self.load()
                await catch_up()
                made = {_id(one): one for one in self._made.named(table, some)}
                for name in some:
                    document = found.get(name)
                    if document is None or _revision(document) > revision_of(_stream(made[name])):
                        wrong += 1
                    elif _revision(document) == made[name].resource.revision:
                        wrong += _read(_READ[table], document) != made[name]
                    else:
                        again.append(name)
            ids = again
        return wrong

    async def _find(self, name: str, ids: Sequence[str]) -> dict[str, Document]:
        collection = self._link.documents(f"{name}_{self._checkpoint.generation}")
        found = await self._link.call(lambda: collection.find({"_id": {"$in": list(ids)}}).to_list(len(ids)))
        return {document["_id"]: document for document in found}

    async def _count(self, name: str, through: int) -> int:
        collection = self._link.documents(f"{name}_{self._checkpoint.generation}")
        up_to = {"position": {"$lte": Int64(through)}}
        return int(await self._link.call(lambda: collection.count_documents(up_to), COUNT_SECONDS))

    async def close(self) -> None:
        await self._link.close()


def _id(one: Listed[Any]) -> str:
    state = one.resource.state
    return str(next(getattr(state, name) for name in ("hold_id", "account_id", "person_id") if hasattr(state, name)))


def _stream(one: Listed[Any]) -> str:
    """The stream whose revision it has."""
    state = one.resource.state
    return account_stream(state.account_id) if hasattr(state, "account_id") else person_stream(state.person_id)


def _key(event: RecordedEvent) -> str:
    return f"{split(event.stream)[1]}/{event.revision}"


def _revision(document: Document) -> int:
    revision = document.get("revision")
    return revision if isinstance(revision, int) else 0


def _has_moved_on(document: Document | None, made: ListedTransfer) -> bool:
    """Whether the document has more than the log as far as it was read: a later state, or a reversal."""
    if not document:
        return False
    state, reversed_by = document.get("state"), document.get("reversed_by")
    later = isinstance(state, int) and state > made.transfer.state
    return later or bool(reversed_by and not made.transfer.reversed_by_transfer_id)


def _read(convert: Callable[[Document], Any], document: Document) -> Any:
    """None for a document that is not the bank's."""
    try:
        return convert(document)
    except (KeyError, TypeError, ValueError, AttributeError, NewerVersionNeeded):
        return None

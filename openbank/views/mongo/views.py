"""The views on MongoDB: plain updates of single documents, which any number of instances may repeat at once.

There is no transaction. Data are written before the checkpoint that speaks for them, and in an order in which what is
there is never ahead of what it states: an account's events before the account's revision. The projector writes in the
order of the log, and begins at a checkpoint: so what a guarded update changes is there.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from bson import Int64
from pymongo import ASCENDING, DESCENDING, UpdateOne

from openbank.domain.account import Account
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.person import Person
from openbank.domain.transfers import UNSETTLED, Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.streams import ACCOUNT, split
from openbank.mongodb.lease import MongoLease
from openbank.mongodb.link import Document, Documents, MongoLink
from openbank.views.changes import Change
from openbank.views.mongo import documents, hold_documents
from openbank.views.mongo.checkpoint import NONE, Checkpoint
from openbank.views.mongo.link import ViewsLink
from openbank.views.mongo.writes import (
    ACCOUNTS,
    EVENTS,
    HOLDS,
    INDEXES,
    MINUTES,
    PERSONS,
    TRANSFERS,
    write_bulk,
    writes_of,
)
from openbank.views.port import MINUTE_MICROSECONDS, NO_MINUTE, DueHold, Listed, ListedTransfer, LogId, ViewsUnavailable

BULK_WRITES_MAX = 100
"""Writes in one message, so that what others ask need not wait long."""
WRITE_SECONDS = 5.0
RETRY_SECONDS = 0.5
"""Between two tries to reach the database at start."""

ACCOUNTS_OF_A_NUMBER_MAX = 1_000
"""More than one are of earlier versions, which counted hyphens."""
_SENT = {"$gt": Int64(0)}
"""Where a transfer has this position, the event that tells most of it was projected."""
_UNSETTLED = [state.value for state in UNSETTLED]
_OF_A_GENERATION = re.compile(rf"(?:{'|'.join(INDEXES)})_(\d+)")

_Found = TypeVar("_Found")

_log = logging.getLogger(__name__)


class MongoViews:
    """`Views`, and a store's `RequestIndex`."""

    shared = True

    def __init__(self, link: MongoLink) -> None:
        """See `open`."""
        self._link = link
        self._checkpoint = Checkpoint(link)
        self._prepared = NONE
        """The generation whose collections are known to be as they should."""
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, uri: str, *, wait_seconds: float = 0.0) -> MongoViews:
        """The views in the database that a URI like `mongodb://user:password@host1,host2/openbank?tls=true` names.

        Tries for `wait_seconds` to reach it. Raises ViewsUnavailable; StoreRefused for what a newer version wrote.
        """
        views = cls(ViewsLink(uri))
        try:
            await views._begin(wait_seconds)
        except BaseException:
            await views.close()
            raise
        views._following = asyncio.create_task(views._checkpoint.follow(views._begin_again), name="views")
        return views

    @property
    def log(self) -> LogId | None:
        return self._checkpoint.log

    @property
    def position(self) -> LogPosition:
        return self._checkpoint.position

    @property
    def available(self) -> bool:
        """Whether the database could be reached, and held these views, when it was last asked."""
        return self._link.trouble is None

    @property
    def link(self) -> MongoLink:
        """For what else is kept beside the views."""
        return self._link

    def lease(self, name: str = "projector") -> MongoLease:
        """The right to project, or to do what `name` says, of which all instances on these views share one."""
        return MongoLease(self._link, name)

    async def wait_for(self, position: int) -> None:
        await self._checkpoint.wait_for(position)

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        generation = self._checkpoint.generation
        if self.position.position < after.position:
            raise ViewsUnavailable(f"{self._link.name}: a rebuild of the views began before position {after.position}")
        await self._prepare(generation)
        for name, writes in writes_of(changes):
            await self._write(self._documents(name, generation), writes)
        await self._checkpoint.advance(generation, after, through)

    async def clear(self, log: LogId) -> None:
        """Raises StoreRefused where another instance has just begun views of another log."""
        await self._checkpoint.begin(log, await self._next_generation())
        await self._prepare(self._checkpoint.generation)

    async def person(self, person_id: str) -> Versioned[Person] | None:
        found = await self._read(PERSONS, lambda persons: persons.find_one({"_id": person_id}))
        return documents.person(found).resource if found else None

    async def persons(self, after: int, limit: int) -> Sequence[Listed[Person]]:
        later = {"position": {"$gt": Int64(after)}}
        found = await self._list(PERSONS, later, "position", ASCENDING, limit)
        return [documents.person(document) for document in found]

    async def account(self, account_id: str) -> Versioned[Account] | None:
        found = await self._read(ACCOUNTS, lambda accounts: accounts.find_one({"_id": account_id}))
        return documents.account(found).resource if found else None

    async def accounts_by_number(self, key: str) -> Sequence[Versioned[Account]]:
        found = await self._list(ACCOUNTS, {"number_key": key}, "position", ASCENDING, ACCOUNTS_OF_A_NUMBER_MAX)
        return [documents.account(document).resource for document in found]

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        later = {"owner_id": owner_id, "position": {"$gt": Int64(after)}}
        found = await self._list(ACCOUNTS, later, "position", ASCENDING, limit)
        return [documents.account(document) for document in found]

    async def hold(self, hold_id: str) -> Versioned[HoldRecord] | None:
        found = await self._read(HOLDS, lambda holds: holds.find_one({"_id": hold_id}))
        return hold_documents.hold(found).resource if found else None

    async def holds(
        self, account_id: str, states: Collection[HoldState], before: int, limit: int
    ) -> Sequence[Listed[HoldRecord]]:
        names = [state.value for state in states]
        earlier = {"account_id": account_id, "state": {"$in": names}, "position": {"$lt": Int64(before)}}
        found = await self._list(HOLDS, earlier, "position", DESCENDING, limit)
        return [hold_documents.hold(document) for document in found]

    async def due_holds(self, time: int, after: DueHold, limit: int) -> Sequence[DueHold]:
        upto, since = {"$lte": Int64(time)}, Int64(after.expire_time)
        later = {"expire_time": {**upto, "$gt": since}}
        as_late = {"expire_time": {**upto, "$eq": since}, "position": {"$gt": Int64(after.position)}}
        due = {"state": HoldState.OPEN.value, "$or": [as_late, later]}
        order = [("expire_time", ASCENDING), ("position", ASCENDING)]
        found = await self._read(HOLDS, lambda holds: holds.find(due).sort(order).limit(limit).to_list(limit))
        return [hold_documents.due_hold(document) for document in found]

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        earlier = {"account_id": account_id, "revision": {"$lt": Int64(before)}}
        found = await self._list(EVENTS, earlier, "revision", DESCENDING, limit)
        return [documents.event(document) for document in found]

    async def transfer(self, transfer_id: str) -> Transfer | None:
        wanted = {"_id": transfer_id, "position": _SENT}
        found = await self._read(TRANSFERS, lambda transfers: transfers.find_one(wanted))
        return documents.transfer(found).transfer if found else None

    async def transfers(
        self, account_id: str, states: Sequence[TransferState], before: int, limit: int
    ) -> Sequence[ListedTransfer]:
        of: Document = {"accounts": account_id} if account_id else {}
        wanted = {**of, "state": {"$in": [state.value for state in states]}, "position": {"$lt": Int64(before)}}
        found = await self._list(TRANSFERS, wanted, "position", DESCENDING, limit)
        return [documents.transfer(document) for document in found]

    async def unsettled_transfers(self, after: int, limit: int) -> Sequence[ListedTransfer]:
        wanted = {"state": {"$in": _UNSETTLED}, "position": {"$gt": Int64(after)}}
        found = await self._list(TRANSFERS, wanted, "position", ASCENDING, limit)
        return [documents.transfer(document) for document in found]

    async def unsettled_from(self, account_id: str) -> int:
        wanted = {"accounts": account_id, "source": account_id, "state": {"$in": _UNSETTLED}}
        return await self._read(TRANSFERS, lambda transfers: transfers.count_documents(wanted))

    async def place_before(self, time: int) -> LogPosition:
        reached = {"_id": {"$lte": Int64(time // MINUTE_MICROSECONDS)}}
        found = await self._list(MINUTES, reached, "_id", DESCENDING, 1)
        return documents.place(found[0]) if found else BEGINNING

    async def last_minute(self) -> int:
        found = await self._list(MINUTES, {}, "_id", DESCENDING, 1)
        return int(found[0]["_id"]) if found else NO_MINUTE

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """Exact for accounts. Of other streams nothing is known: they are short, so the store reads them itself."""
        category, account_id = split(stream)
        generation = self._checkpoint.generation
        if category != ACCOUNT or generation == NONE:
            return Indexed([], 0)
        accounts, events = self._documents(ACCOUNTS, generation), self._documents(EVENTS, generation)
        of_requests = {"account_id": account_id, "request_id": {"$in": [one for one in request_ids if one]}}
        # The revision first: every event up to it was there before it.
        account = await self._link.call(lambda: accounts.find_one({"_id": account_id}, {"revision": 1}))
        found = await self._link.call(lambda: events.find(of_requests, {"revision": 1}).to_list(None))
        # An event that is missed is a request that is done twice.
        await self._checkpoint.confirm(generation)
        through = int(account["revision"]) if account else 0
        return Indexed(sorted(int(document["revision"]) for document in found), through)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self._link.close()

    async def _begin(self, wait_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        said = False
        while True:
            try:
                await self._checkpoint.load()
                self._link.trouble = None
                return await self._prepare(self._checkpoint.generation)
            except ViewsUnavailable as error:
                if loop.time() + RETRY_SECONDS > until:
                    raise
                if not said:
                    _log.warning("waiting for the views", extra={"values": {"seconds": wait_seconds, "reason": error}})
                    said = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _begin_again(self) -> None:
        """After they were lost. Not from what there is of them: an older copy may be of several moments."""
        log = self._checkpoint.log
        assert log is not None
        await self._checkpoint.begin(log, await self._next_generation(), if_lost=True)

    async def _next_generation(self) -> int:
        return 1 + max({self._checkpoint.generation, *await self._generations()})

    async def _prepare(self, generation: int) -> None:
        """The indexes of a generation are there, and what is of older ones is not: neither minds being done twice."""
        if generation == self._prepared:
            return
        for name, indexes in INDEXES.items():
            for keys in indexes:
                await self._link.call(partial(self._index, name, generation, keys), WRITE_SECONDS)
        for old in await self._generations():
            if old < generation:
                await self._drop(old)
        self._prepared = generation

    async def _index(self, name: str, generation: int, keys: dict[str, int]) -> None:
        await self._documents(name, generation).create_index(list(keys.items()))

    async def _generations(self) -> set[int]:
        """Those that there are collections of."""
        names = await self._link.probe(self._link.database.list_collection_names)
        return {int(match[1]) for name in names if (match := _OF_A_GENERATION.fullmatch(name))}

    async def _drop(self, generation: int) -> None:
        for name in INDEXES:
            await self._link.call(self._documents(name, generation).drop, WRITE_SECONDS)

    def _documents(self, name: str, generation: int) -> Documents:
        return self._link.documents(f"{name}_{generation}")

    async def _write(self, collection: Documents, writes: Sequence[UpdateOne]) -> None:
        for start in range(0, len(writes), BULK_WRITES_MAX):
            some = writes[start : start + BULK_WRITES_MAX]
            await self._link.call(partial(write_bulk, collection, some), WRITE_SECONDS)

    async def _list(self, name: str, where: Document, by: str, direction: int, limit: int) -> list[Document]:
        return await self._read(name, lambda found: found.find(where).sort(by, direction).limit(limit).to_list(limit))

    async def _read(self, name: str, read: Callable[[Documents], Awaitable[_Found]]) -> _Found:
        """Nothing is believed only of a generation that was not dropped meanwhile."""
        generation = self._checkpoint.generation
        found = await self._link.call(lambda: read(self._documents(name, generation)))
        if not found:
            await self._checkpoint.confirm(generation)
        return found

"""Questions to the views on MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from bson import Int64
from pymongo import ASCENDING, DESCENDING

from openbank.domain.account import Account
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.person import Person
from openbank.domain.transfers import UNSETTLED, Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.streams import ACCOUNT, split
from openbank.mongodb.link import Document, Documents, MongoLink
from openbank.views.mongo import documents, event_documents, hold_documents
from openbank.views.mongo.checkpoint import FORMAT, NONE, Checkpoint
from openbank.views.mongo.generations import Generations
from openbank.views.mongo.writes import ACCOUNTS, EVENTS, HOLDS, MINUTES, PERSONS, REVERSALS, TERMS, TRANSFERS
from openbank.views.port import (
    MINUTE_MICROSECONDS,
    DueHold,
    Listed,
    ListedTransfer,
    Movement,
    MovementFilter,
    Standing,
    ViewsLacking,
)
from openbank.views.standings import movement_of, standing_of
from openbank.views.terms import term

ACCOUNTS_OF_A_NUMBER_MAX = 1_000
"""More than one are of earlier versions, which counted hyphens."""
_SENT = {"$gt": Int64(0)}
"""Where a transfer has this position, the event that tells most of it was projected."""
_UNSETTLED = [state.value for state in UNSETTLED]

_Found = TypeVar("_Found")


class MongoQuestions:
    """The questions of `Views`, and a store's `RequestIndex`."""

    def __init__(self, link: MongoLink) -> None:
        self._link = link
        self._checkpoint = Checkpoint(link)
        self._generations = Generations(link)

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
        return [event_documents.event(document) for document in found]

    async def standing(self, account_id: str, revision: int) -> Standing | None:
        self._check_complete()
        earlier = {"account_id": account_id, "revision": {"$lte": Int64(revision)}}
        found = await self._list(EVENTS, earlier, "revision", DESCENDING, 1)
        return standing_of(*event_documents.counted(found[0])) if found else None

    async def standing_at(self, account_id: str, time: int, revision: int) -> Standing | None:
        self._check_complete()
        earlier = {"account_id": account_id, "time": {"$lte": Int64(time)}, "revision": {"$lte": Int64(revision)}}
        order = [("time", DESCENDING), ("revision", DESCENDING)]
        found = await self._read(EVENTS, lambda events: events.find(earlier).sort(order).limit(1).to_list(1))
        return standing_of(*event_documents.counted(found[0])) if found else None

    async def entries(self, account_id: str, after: int, through: int, limit: int) -> Sequence[Movement]:
        self._check_complete()
        within = {"$gt": Int64(after), "$lte": Int64(through)}
        wanted = {"account_id": account_id, "moves": True, "position": within}
        found = await self._list(EVENTS, wanted, "position", ASCENDING, limit)
        return [movement_of(*event_documents.counted(document)) for document in found]

    async def movements(self, filter: MovementFilter, before: int, limit: int) -> Sequence[Movement]:
        self._check_complete()
        if filter == MovementFilter(filter.account_id):
            wanted = {"account_id": filter.account_id, "moves": True, "position": {"$lt": Int64(before)}}
        else:
            within = event_documents.terms_before(term(filter), before)
            terms = await self._list(TERMS, {"_id": within}, "_id", DESCENDING, limit)
            wanted = {"_id": {"$in": [one["event"] for one in terms]}}
        found = await self._list(EVENTS, wanted, "position", DESCENDING, limit)
        return [movement_of(*event_documents.counted(document)) for document in found]

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

    async def reversal(self, account_id: str, revision: int) -> int:
        self._check_complete()
        wanted = {"_id": documents.movement_id(account_id, revision)}
        found = await self._read(REVERSALS, lambda reversals: reversals.find_one(wanted))
        return int(found["reversed_by"]) if found else 0

    async def place_before(self, time: int) -> LogPosition:
        reached = {"_id": {"$lte": Int64(time // MINUTE_MICROSECONDS)}}
        found = await self._list(MINUTES, reached, "_id", DESCENDING, 1)
        return documents.place(found[0]) if found else BEGINNING

    async def last_minute(self) -> int:
        return await self._generations.last_minute(self._checkpoint.generation)

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """Exact for accounts. Of other streams nothing is known: they are short, so the store reads them itself."""
        category, account_id = split(stream)
        generation, place = self._checkpoint.generation, self._checkpoint.place
        if category != ACCOUNT or generation == NONE:
            return Indexed([], 0)
        documents_of = self._generations.documents
        accounts, events = documents_of(ACCOUNTS, generation), documents_of(EVENTS, generation)
        of_requests = {"account_id": account_id, "request_id": {"$in": [one for one in request_ids if one]}}
        # The revision first: every event up to it was there before it.
        account = await self._link.call(lambda: accounts.find_one({"_id": account_id}, {"revision": 1}))
        found = await self._link.call(lambda: events.find(of_requests, {"revision": 1}).to_list(None))
        # An event that is missed is a request that is done twice.
        if not await self._checkpoint.confirm(generation, place):
            return Indexed([], 0)
        through = int(account["revision"]) if account else 0
        return Indexed(sorted(int(document["revision"]) for document in found), through)

    def _check_complete(self) -> None:
        """Raises ViewsLacking."""
        if self._checkpoint.format < FORMAT:
            raise ViewsLacking(f"{self._link.name}: these views are of an earlier format, which had no movements")

    async def _list(self, name: str, where: Document, by: str, direction: int, limit: int) -> list[Document]:
        return await self._read(name, lambda found: found.find(where).sort(by, direction).limit(limit).to_list(limit))

    async def _read(self, name: str, read: Callable[[Documents], Awaitable[_Found]]) -> _Found:
        """Nothing is believed only of a generation that was not dropped meanwhile."""
        while True:
            generation, place = self._checkpoint.generation, self._checkpoint.place
            found = await self._link.call(lambda: read(self._generations.documents(name, generation)))  # noqa: B023
            if found or await self._checkpoint.confirm(generation, place):
                return found

"""The views on MongoDB: plain updates of single documents, which any number of instances may repeat at once.

There is no transaction. Data are written before the checkpoint that speaks for them, and in an order in which what is
there is never ahead of what it states: an account's events before the account's revision. The projector writes in the
order of the log, and begins at a checkpoint: so what a guarded update changes is there.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from functools import partial

from pymongo import UpdateOne

from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.mongodb.lease import MongoLease
from openbank.mongodb.link import Documents, MongoLink
from openbank.views.changes import Change, Grouped
from openbank.views.mongo.checkpoint import NONE
from openbank.views.mongo.documents import KNOWN_TOTALS, known_totals
from openbank.views.mongo.link import ViewsLink
from openbank.views.mongo.questions import MongoQuestions
from openbank.views.mongo.writes import ACCOUNTS, INDEXES, write_bulk, writes_of
from openbank.views.port import LogId, ViewsUnavailable
from openbank.views.totals import Added, add_up

BULK_WRITES_MAX = 100
"""Writes in one message, so that what others ask need not wait long."""
WRITE_SECONDS = 5.0
RETRY_SECONDS = 0.5
"""Between two tries to reach the database at start."""

_OF_A_GENERATION = re.compile(rf"(?:{'|'.join(INDEXES)})_(\d+)")

_log = logging.getLogger(__name__)


class MongoViews(MongoQuestions):
    """`Views`, and a store's `RequestIndex`."""

    shared = True

    def __init__(self, link: MongoLink) -> None:
        """See `open`."""
        super().__init__(link)
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
        grouped = Grouped(changes)
        for name, writes in writes_of(grouped, await self._add_up(grouped, generation)):
            await self._write(self._documents(name, generation), writes)
        await self._checkpoint.advance(generation, after, through)

    async def _add_up(self, grouped: Grouped, generation: int) -> Added:
        """The events that are not there yet. An account's are there up to its revision."""
        accounts = list({event.account_id for event in grouped.events})
        if not accounts:
            return []
        known = self._documents(ACCOUNTS, generation)
        wanted = {"_id": {"$in": accounts}}
        found = await self._link.call(lambda: known.find(wanted, KNOWN_TOTALS).to_list(None), WRITE_SECONDS)
        return add_up(grouped.events, {document["_id"]: known_totals(document) for document in found})

    async def clear(self, log: LogId) -> None:
        """Raises StoreRefused where another instance has just begun views of another log."""
        await self._checkpoint.begin(log, await self._next_generation())
        await self._prepare(self._checkpoint.generation)

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

    async def _write(self, collection: Documents, writes: Sequence[UpdateOne]) -> None:
        for start in range(0, len(writes), BULK_WRITES_MAX):
            some = writes[start : start + BULK_WRITES_MAX]
            await self._link.call(partial(write_bulk, collection, some), WRITE_SECONDS)

"""The views on MongoDB: plain updates of single documents, which any number of instances may repeat at once.

There is no transaction. Data are written before the checkpoint that speaks for them, and in an order in which what is
there is never ahead of what it states: an account's events before the account's revision. The projector writes in the
order of the log, and begins at a checkpoint: so what a guarded update changes is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.mongodb.lease import MongoLease
from openbank.mongodb.link import MongoLink
from openbank.views.changes import Change
from openbank.views.mongo.checkpoint import FORMAT, NONE
from openbank.views.mongo.link import ViewsLink
from openbank.views.mongo.questions import MongoQuestions
from openbank.views.mongo.rebuilds import MongoRebuilds
from openbank.views.port import LogId, ViewsUnavailable

KEPT_SECONDS = 10.0
"""How long a generation is kept that a rebuild has replaced: until every instance has looked."""
RETRY_SECONDS = 0.5
"""Between two tries to reach the database at start."""


_log = logging.getLogger(__name__)


class MongoViews(MongoQuestions):
    """`Views`, and a store's `RequestIndex`."""

    shared = True

    def __init__(self, link: MongoLink) -> None:
        """See `open`."""
        super().__init__(link)
        self._prepared = NONE
        """The generation whose collections are known to be as they should."""
        self._drop_at: float | None = None
        """When older ones are to be dropped."""
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
    def place(self) -> LogPosition:
        return self._checkpoint.place

    @property
    def generation(self) -> int:
        return self._checkpoint.generation

    @property
    def complete(self) -> bool:
        return self._checkpoint.format >= FORMAT

    @property
    def available(self) -> bool:
        """Whether the database could be reached, and held these views, when it was last asked."""
        return self._link.trouble is None

    @property
    def link(self) -> MongoLink:
        """For what else is kept beside the views."""
        return self._link

    def rebuilds(self) -> MongoRebuilds:
        return MongoRebuilds(self._checkpoint, self._generations)

    def lease(self, name: str = "projector") -> MongoLease:
        """The right to project, or to do what `name` says, of which all instances on these views share one."""
        return MongoLease(self._link, name)

    async def wait_for(self, position: int) -> None:
        await self._checkpoint.wait_for(position)

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        generation = self._checkpoint.generation
        if self.place.position < after.position:
            raise ViewsUnavailable(f"{self._link.name}: a rebuild of the views began before position {after.position}")
        await self._prepare(generation)
        await self._generations.write(changes, generation)
        await self._checkpoint.advance(generation, after, through)

    async def clear(self, log: LogId) -> None:
        """Raises StoreRefused where another instance has just begun views of another log."""
        await self._checkpoint.begin(log, await self._generations.next_after(self._checkpoint.generation))
        await self._prepare(self._checkpoint.generation)

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self._link.close()

    async def _begin(self, wait_seconds: float) -> None:
        loop, said = asyncio.get_running_loop(), False
        until = loop.time() + wait_seconds
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
        next_one = await self._generations.next_after(self._checkpoint.generation)
        await self._checkpoint.begin(log, next_one, if_lost=True)

    async def _prepare(self, generation: int) -> None:
        """The indexes of a generation are there, and what is of older ones is not: neither minds being done twice."""
        now = asyncio.get_running_loop().time()
        if generation != self._prepared:
            if self.complete:
                await self._generations.index(generation)
            # Other instances may read what a rebuild has replaced until they see that.
            self._drop_at = now if self._prepared == NONE or not self._checkpoint.rebuilt else now + KEPT_SECONDS
            self._prepared = generation
        if self._drop_at is not None and now >= self._drop_at:
            await self._generations.drop_before(generation)
            self._drop_at = None

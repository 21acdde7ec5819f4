"""The checkpoint of the views: one document, which all instances follow.

    {_id: "views", format, bank_id, store_id, generation, position, stream, revision, rebuild}

A newer version may add fields, here and in the views, and collections with checkpoint documents of their own: what is
missing has its default, what is unknown is left alone. If it has to raise the format for that, it adds the field
readable_from: the oldest format whose instances can use these views.

The views themselves are in collections whose names end with the generation. Views that begin again are the next
generation: the document names it first, then what is of older ones is dropped. So a reader that found nothing in a
collection, and then finds its generation named here still, has found that there is nothing. A rebuild beside the views
(`rebuilds`) fills a generation before the document names it.

Under a running bank the database may be emptied, or become an older one. Who follows sees that there is no document, or
one that is behind what it said before, which no failover takes back. Then the next generation begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from bson import Int64
from pymongo.read_concern import ReadConcern

from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.mongodb.link import Document, Documents, MongoLink, insert_if_missing
from openbank.pause import Pause
from openbank.views.port import LogId, ViewsReplaced, ViewsUnavailable

COLLECTION = "openbank_views"
FORMAT = 4
"""The format of collections and projections together. Views of a newer one are refused, unless they say that this one
can read them."""
OLDEST = 3
"""The earliest format that can be read, without what later ones have added. Views of an older one are rebuilt."""
NONE = 0
"""The generation before the first."""

POLL_SECONDS_MIN = 0.02
POLL_SECONDS_MAX = 0.2
"""Between two looks, while somebody waits: more, the longer nothing moves."""
IDLE_SECONDS = 0.5
"""While nobody does, or this process moves the checkpoint itself."""

_ONE = {"_id": "views"}
_log = logging.getLogger(__name__)


class _Stored(NamedTuple):
    generation: int
    log: LogId | None
    place: LogPosition
    rebuild: Document
    format: int = FORMAT


class ViewsLost(ViewsUnavailable):
    """The database does not hold what it held: the views are gone, or older. They are to begin again."""


class Checkpoint:
    def __init__(self, link: MongoLink) -> None:
        self.generation = NONE
        self.log: LogId | None = None
        self.place = BEGINNING
        self.rebuild: Document = {}
        """As `rebuilds` writes it; empty where there was none."""
        self.format = FORMAT
        """The format of the views in the database."""
        self._link = link
        self._documents: Documents = link.documents(COLLECTION).with_options(read_concern=ReadConcern("majority"))
        # One look at a time: what was seen first is taken first.
        self._looking = asyncio.Lock()
        self._change = asyncio.Event()
        self._idling = Pause()
        """Until somebody waits, or for as long as nobody needs to know."""
        self._waiting = 0
        self._available = True
        self._advanced_at = float("-inf")

    @property
    def rebuilt(self) -> bool:
        """Whether a rebuild has filled this generation."""
        return bool(self.rebuild) and int(self.rebuild["generation"]) == self.generation

    async def load(self) -> None:
        """The log and place of the views in the database. Raises StoreRefused for views that this program must not
        touch."""
        async with self._looking:
            self._adopt(await self._look(), None)

    async def refresh(self) -> None:
        """What the database says now, on which it depends whether anything else may be asked of it."""
        try:
            async with self._looking:
                known = self.place
                stored = await self._look()
                # Views that were begun since `load` found none may be another bank's: `begin` will see.
                if self.generation != NONE:
                    self._check_kept(stored, known)
                    self._adopt(stored, self.log)
        except ViewsUnavailable as error:
            self._note(str(error))
            raise
        except StoreRefused as error:
            self._note(str(error))
            raise ViewsUnavailable(str(error)) from error
        self._note(None)

    async def confirm(self, generation: int, place: LogPosition) -> bool:
        """Whether what was read of this generation was all there is; False where it is to be read again, of another one
        that is at this place. Raises ViewsUnavailable where that one is not as far."""
        await self.refresh()
        if self.generation == generation:
            return True
        if self.place.position < place.position:
            raise ViewsUnavailable(f"{self._link.name}: a rebuild of the views began while they were read")
        return False

    async def change(self, where: Document, values: Document) -> bool:
        """Whether the document was as `where` says, and has these values now."""
        done = await self._link.call(lambda: self._documents.update_one({**_ONE, **where}, {"$set": values}))
        await self.refresh()
        return bool(done.matched_count)

    async def follow(self, begin_again: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled. Nobody else of this process asks again and again, however many wait.

        `begin_again` is called where the views are lost. It may raise ViewsUnavailable and StoreRefused.
        """
        seconds = POLL_SECONDS_MIN
        while True:
            before = self.place
            with suppress(ViewsUnavailable):
                await self._refresh_or(begin_again)
            if self._advances():
                await asyncio.sleep(IDLE_SECONDS)
            elif self._waiting or not self._available:
                seconds = POLL_SECONDS_MIN if self.place != before else min(2 * seconds, POLL_SECONDS_MAX)
                await asyncio.sleep(seconds)
            else:
                await self._idling.wait(IDLE_SECONDS)
                seconds = POLL_SECONDS_MIN

    async def _refresh_or(self, begin_again: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.refresh()
        except ViewsLost as lost:
            generation = self.generation
            try:
                await begin_again()
            except StoreRefused as error:
                raise ViewsUnavailable(str(error)) from error
            if self.generation != generation:
                _log.warning("views are rebuilt", extra={"values": {"reason": lost}})
            self._note(None)

    async def wait_for(self, position: int) -> None:
        while self.place.position < position:
            self._link.check()
            self._waiting += 1
            self._idling.end()
            try:
                await self._change.wait()
            finally:
                self._waiting -= 1

    async def advance(self, generation: int, after: LogPosition, through: LogPosition) -> None:
        """To be called once the data from `after` to `through` are there, in `generation`. Never moves back.

        Raises ViewsUnavailable where the views are not at `after`: others have begun them again, or they are lost.
        """
        # $max, for three fields that belong together, and never over a gap.
        within = {"$gte": Int64(after.position), "$lt": Int64(through.position)}
        behind = {**_ONE, "generation": generation, "position": within}
        place = {"$set": place_fields(through)}
        done = await self._link.call(lambda: self._documents.update_one(behind, place))
        if not done.matched_count:
            if not await self.confirm(generation, self.place):
                raise ViewsReplaced(f"{self._link.name}: a rebuild of the views began while they were written")
            if self.place.position < through.position:
                raise ViewsUnavailable(f"{self._link.name}: the views are not at position {after.position}")
        elif self.generation == generation and through.position > self.place.position:
            self.place = through
        self._advanced_at = asyncio.get_running_loop().time()
        self._announce()

    async def begin(self, log: LogId, generation: int, *, if_lost: bool = False) -> None:
        """Begins views of `log` after those that this process knows, unless another instance has done so before it;
        `if_lost`, unless the database turns out to hold them still.

        Raises StoreRefused where another one has begun those of another log.
        """
        known: Document = {**_ONE, "generation": self.generation}
        if if_lost:
            # A look may have been at an old primary, or at a new one that does not know yet what a majority has. A
            # write is not.
            known["position"] = {"$lt": Int64(self.place.position)}
        new = {
            "format": FORMAT,
            "bank_id": log.bank_id,
            "store_id": log.store_id,
            "generation": Int64(generation),
            **place_fields(BEGINNING),
        }
        async with self._looking:
            await self._link.probe(lambda: insert_if_missing(self._documents, {**_ONE, **new}))
            await self._link.probe(lambda: self._documents.update_one(known, {"$set": new}))
            self._adopt(await self._look(), log)

    async def _look(self) -> _Stored:
        return _parse(await self._link.probe(lambda: self._documents.find_one(_ONE)), self._link.name)

    def _check_kept(self, stored: _Stored, known: LogPosition) -> None:
        """Raises ViewsLost unless the database holds what it held: views at `known`, or after that, or newer ones."""
        if stored.log is None:
            raise ViewsLost(f"{self._link.name}: the views are gone")
        if stored.generation == self.generation and stored.place.position < known.position:
            at = stored.place.position
            raise ViewsLost(f"{self._link.name}: the views are older: at position {at}, after {known.position}")

    def _adopt(self, stored: _Stored, log: LogId | None) -> None:
        """Continues with the stored views, which belong to `log` if that is known."""
        self.rebuild, self.format = stored.rebuild, stored.format
        if stored.generation == self.generation:
            if stored.place.position > self.place.position:
                self.place = stored.place
                self._announce()
            return
        if stored.log is None:
            raise ViewsLost(f"{self._link.name}: the views are gone")
        if log not in (None, stored.log):
            what = "the views are of another log now, begun by another instance"
            raise StoreRefused(f"{self._link.name}: {what}; restart this one, or give the other a database of its own")
        self.generation, self.log, self.place = stored.generation, stored.log, stored.place
        self._announce()

    def _note(self, trouble: str | None) -> None:
        self._link.trouble = trouble
        if self._available == (trouble is None):
            return
        self._available = trouble is None
        if trouble is None:
            _log.info("views available", extra={"values": {"position": self.place.position}})
        else:
            _log.warning("views unavailable", extra={"values": {"reason": trouble}})
        # Those who wait find out, too.
        self._announce()

    def _advances(self) -> bool:
        """Whether this process moves the checkpoint itself, as it has just done."""
        return asyncio.get_running_loop().time() - self._advanced_at < IDLE_SECONDS

    def _announce(self) -> None:
        # A new event each time: who waits for the next change must not see this one.
        self._change.set()
        self._change = asyncio.Event()


def _parse(document: Document | None, where: str) -> _Stored:
    if document is None:
        return _Stored(NONE, None, BEGINNING, {})
    try:
        version = document["format"]
        format = int(version)
        if int(document.get("readable_from") or version) > FORMAT:
            raise StoreRefused(f"{where}: format {version}, written by a newer version; this one reads {FORMAT}")
        # Those of an older format are views of nothing that there is: `match_log` rebuilds them.
        log = LogId(document["bank_id"], document["store_id"] if format >= OLDEST else "")
        position = LogPosition(int(document["position"]), document["stream"], int(document["revision"]))
        return _Stored(int(document["generation"]), log, position, dict(document.get("rebuild") or {}), format)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreRefused(f"{where}: the collection {COLLECTION} is not this program's") from error


def place_fields(place: LogPosition) -> Document:
    return {"position": Int64(place.position), "stream": place.stream, "revision": Int64(place.revision)}

"""`Rebuilds` on MongoDB: the next generation of the views is filled while the document still names another one.

The field `rebuild` of that document has {of, generation, running, start_time, end_time, failure, position, stream,
revision}: `of` is the generation that serves, `generation` the one that is filled, up to the position. A rebuild of
views that have begun again since is not under way any more, whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence

from bson import Int64

from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.mongodb.link import Document
from openbank.views.changes import Change
from openbank.views.mongo.checkpoint import FORMAT, Checkpoint, place_fields
from openbank.views.mongo.generations import Generations
from openbank.views.port import Filled, ViewsUnavailable
from openbank.views.rebuild import Advance, RebuildRecord


class MongoRebuilds:
    def __init__(self, checkpoint: Checkpoint, generations: Generations) -> None:
        self._checkpoint = checkpoint
        self._generations = generations
        self._next: _NextViews | None = None

    @property
    def record(self) -> RebuildRecord | None:
        stored = self._checkpoint.rebuild
        if not stored:
            return None
        if _is_running(self._checkpoint):
            return RebuildRecord(int(stored["start_time"]), _place(stored))
        # Of one that another rebuild of the views has ended, nobody has written an end.
        ended = stored["end_time"] or stored["start_time"]
        failure = "the views began again meanwhile" if stored["running"] else stored["failure"]
        return RebuildRecord(int(stored["start_time"]), BEGINNING, int(ended), failure)

    async def start(self, time: int) -> None:
        await self._checkpoint.refresh()
        serving = self._checkpoint.generation
        ended = {"$or": [{"rebuild.running": {"$ne": True}}, {"rebuild.of": {"$ne": Int64(serving)}}]}
        rebuild = {
            "of": Int64(serving),
            "generation": Int64(await self._generations.next_after(serving)),
            "running": True,
            "start_time": Int64(time),
            "end_time": None,
            "failure": "",
            **place_fields(BEGINNING),
        }
        await self._checkpoint.change({"generation": serving, **ended}, {"rebuild": rebuild})

    async def next_views(self) -> Filled | None:
        await self._checkpoint.refresh()
        if not _is_running(self._checkpoint):
            return None
        self._next = _NextViews(self._checkpoint, self._generations)
        await self._generations.index(self._next.generation)
        return self._next

    async def switch(self, time: int, catch_up: Advance) -> bool:
        filled = self._next
        if filled is not None and filled.place.position < self._checkpoint.place.position:
            await catch_up()
        if filled is None or filled.place.position < self._checkpoint.place.position:
            return False
        as_far = {"position": {"$lte": Int64(filled.place.position)}}
        values = {
            "format": FORMAT,
            "generation": Int64(filled.generation),
            **place_fields(filled.place),
            "rebuild.running": False,
            "rebuild.end_time": Int64(time),
        }
        return await self._checkpoint.change({**filled.is_running, **as_far}, values)

    async def give_up(self, time: int, failure: str) -> None:
        filled = self._next
        if filled is not None:
            values = {"rebuild.running": False, "rebuild.end_time": Int64(time), "rebuild.failure": failure}
            if await self._checkpoint.change(filled.is_running, values):
                await self._generations.drop(filled.generation)

    async def close(self) -> None: ...


class _NextViews:
    """The generation that is filled."""

    def __init__(self, checkpoint: Checkpoint, generations: Generations) -> None:
        """As the checkpoint says."""
        self._checkpoint = checkpoint
        self._generations = generations
        stored = checkpoint.rebuild
        self.generation = int(stored["generation"])
        self.place = _place(stored)
        self.is_running: Document = {
            "generation": Int64(int(stored["of"])),
            "rebuild.generation": Int64(self.generation),
            "rebuild.running": True,
        }

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        await self._generations.write(changes, self.generation)
        within = {"rebuild.position": {"$gte": Int64(after.position), "$lte": Int64(through.position)}}
        place = {f"rebuild.{name}": value for name, value in place_fields(through).items()}
        if await self._checkpoint.change({**self.is_running, **within}, place):
            self.place = through
            return
        stored = self._checkpoint.rebuild
        if not _is_running(self._checkpoint) or int(stored["generation"]) != self.generation:
            raise ViewsUnavailable("the rebuild of the views has ended")
        # Another instance may fill, too.
        self.place = _place(stored)
        if self.place.position < through.position:
            raise ViewsUnavailable(f"the new views are not at position {after.position}")

    async def last_minute(self) -> int:
        return await self._generations.last_minute(self.generation)


def _is_running(checkpoint: Checkpoint) -> bool:
    stored = checkpoint.rebuild
    return bool(stored) and bool(stored["running"]) and int(stored["of"]) == checkpoint.generation


def _place(stored: Document) -> LogPosition:
    return LogPosition(int(stored["position"]), stored["stream"], int(stored["revision"]))

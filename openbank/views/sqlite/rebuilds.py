"""`Rebuilds` on a second file beside the views, in the same directory.

The file is there while a rebuild is under way. At the end it is renamed to that of the views.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from openbank.eventstore.port import BEGINNING
from openbank.unfinished import Unfinished
from openbank.views.port import Filled, ViewsUnavailable
from openbank.views.rebuild import Advance, RebuildRecord
from openbank.views.sqlite.schema import remove
from openbank.views.sqlite.views import SqliteViews

NEXT_FILE = "views-next.db"

_log = logging.getLogger(__name__)


class SqliteRebuilds:
    """Rebuilds of the views in a directory, which one process holds."""

    def __init__(self, directory: Path, views: SqliteViews, *, index_requests: bool = False) -> None:
        """Continues a rebuild that a stop has interrupted."""
        self._path = directory.resolve() / NEXT_FILE
        self._views = views
        self._open = partial(SqliteViews, directory, index_requests=index_requests, file=NEXT_FILE, rests=False)
        self._changing = asyncio.Lock()
        self._unfinished = Unfinished()
        self._next: SqliteViews | None = None
        self._start_time = 0
        self._last = views.rebuild()
        if self._path.exists():
            try:
                self._next = self._open()
            except ViewsUnavailable as error:
                _log.warning("rebuild of the views cannot continue", extra={"values": {"reason": error}})
                return
            kept = self._next.rebuild()
            self._start_time = kept.start_time if kept else int(self._path.stat().st_mtime * 1_000_000)

    @property
    def record(self) -> RebuildRecord | None:
        if self._next is None:
            return self._last
        return RebuildRecord(self._start_time, self._next.place)

    async def start(self, time: int) -> None:
        # If the caller left meanwhile, nobody would close the connections that are being opened, and SQLite would share
        # their memory with those of the next rebuild.
        await self._unfinished.run(self._start(time))

    async def _start(self, time: int) -> None:
        async with self._changing:
            if self._next is not None:
                return
            # In a thread: making a file syncs several times.
            begun = await asyncio.to_thread(self._open)
            try:
                await begun.keep_rebuild(RebuildRecord(time, BEGINNING))
            except ViewsUnavailable:
                await begun.close()
                raise
            self._next, self._start_time = begun, time

    async def next_views(self) -> Filled | None:
        async with self._changing:
            if self._next is not None and not self._next.complete:
                await self._begin_again(self._next)
            begun, log = self._next, self._views.log
            if begun is not None and begun.log != log and log is not None:
                # Just begun, or left by a bank of another log.
                await begun.clear(log)
            return begun

    async def _begin_again(self, left: SqliteViews) -> None:
        """An earlier version has left what it had filled."""
        await left.close()
        await asyncio.to_thread(remove, self._path)
        self._next = await asyncio.to_thread(self._open)
        await self._next.keep_rebuild(RebuildRecord(self._start_time, BEGINNING))

    async def switch(self, time: int, catch_up: Advance) -> bool:
        async with self._changing:
            if self._next is None:
                return False
            done = RebuildRecord(self._start_time, BEGINNING, time)
            await self._next.keep_rebuild(done)
            if not await self._views.replace_by(self._next, catch_up):
                return False
            self._next, self._last = None, done
            return True

    async def give_up(self, time: int, failure: str) -> None:
        async with self._changing:
            if self._next is None:
                return
            await self._next.close()
            try:
                await asyncio.to_thread(remove, self._path)
            except OSError as error:
                _log.warning("file of a rebuild cannot be removed", extra={"values": {"reason": error}})
            last = RebuildRecord(self._start_time, BEGINNING, time, failure)
            # There may have been no room for it before.
            with suppress(ViewsUnavailable):
                await self._views.keep_rebuild(last)
            self._next, self._last = None, last

    async def close(self) -> None:
        await self._unfinished.finished()
        if self._next is not None:
            await self._next.close()

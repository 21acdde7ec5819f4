"""All watches of a process: what they share, how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from openbank.domain.clock import Clock
from openbank.eventstore.port import EventStore, LogPosition
from openbank.feeds.errors import ServerDraining, TooManyWatches
from openbank.feeds.filter import Filter
from openbank.feeds.limits import FeedLimits
from openbank.feeds.pages import Page, Pages
from openbank.feeds.parcels import Encode
from openbank.feeds.selected import Owners, Selected, streams_of
from openbank.following.tail import LogTail


class Watching(Protocol):
    def hurry(self) -> None:
        """The server stops: don't wait long for the client any more, nor at all to begin."""


class Times(Protocol):
    async def place_before(self, time: int) -> LogPosition:
        """A place up to which every event was recorded before `time`, microseconds: the nearer to it the better.

        Raises what watches that start at a time are then to end with.
        """
        ...


SEARCHES_MAX = 4
"""Times looked for at once: each takes a part of the loop's time for as long as it takes."""


SELECTIONS_MAX = 4
"""Pages of selected streams that are read at once."""


class _Search:
    """A time that is being looked for, and how many watches wait for it."""

    def __init__(self, task: asyncio.Task[LogPosition]) -> None:
        self.task = task
        self.waiting = 0


class Feed:
    def __init__(
        self,
        store: EventStore,
        times: Times,
        tail: LogTail,
        encode: Encode,
        limits: FeedLimits,
        clock: Clock,
        owners: Owners,
    ) -> None:
        """`encode` makes of an event the bytes that messages carry; it is asked once a form for all watches."""
        self.store = store
        self._times = times
        self._searches: dict[int, _Search] = {}
        self._searching = asyncio.Semaphore(SEARCHES_MAX)
        self.tail = tail
        self.limits = limits
        self.clock = clock
        self.pages = Pages(tail, encode, self.limits)
        self._owners = owners
        self._reader = tail.reader()
        self._selecting = asyncio.Semaphore(SELECTIONS_MAX)
        self._drain_until: float | None = None
        self._watches: set[Watching] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def watches(self) -> int:
        """How many there are."""
        return len(self._watches)

    @property
    def draining(self) -> bool:
        return self._drain_until is not None

    def send_until(self) -> float:
        """When a client that is sent something now must have taken it, by the loop's clock."""
        if self._drain_until is not None:
            return self._drain_until
        return asyncio.get_running_loop().time() + self.limits.silence_seconds_max

    async def position_at(self, time: int) -> LogPosition:
        """The place before the first event, in log order, that was recorded at `time` (microseconds) or later.

        However many ask for one time at once, it is looked for once, and no longer than somebody waits for it. Raises
        StoreUnavailable, and what `Times` does.
        """
        search = self._searches.get(time)
        if search is None:
            search = self._searches[time] = _Search(asyncio.create_task(self._search(time)))
        search.waiting += 1
        try:
            # One that leaves does not take the others' answer away.
            return await asyncio.shield(search.task)
        finally:
            search.waiting -= 1
            if not search.waiting:
                search.task.cancel()
                if self._searches.get(time) is search:
                    del self._searches[time]

    async def select(self, filter: Filter, after: LogPosition) -> Selected | None:
        """The history for a filter after a place, where it can be read without the rest of the log."""
        streams = await streams_of(filter, self.tail.head, self._owners)
        if streams is None or streams.through.position <= after.position:
            return None
        return Selected(self.store, self._reader, streams, after)

    async def page_of(self, selected: Selected) -> Page:
        """Its next page. A few at a time are read, so that they take little memory. Raises what `Selected` does."""
        async with self._selecting:
            return await selected.page()

    async def _search(self, time: int) -> LogPosition:
        async with self._searching:
            return await self.store.position_at(time, await self._times.place_before(time))

    async def run(self) -> None:
        """Serves the watches until cancelled, which is to be after `drain`. Beside it the tail must run."""
        await self.pages.run()

    async def drain(self) -> None:
        """Ends every watch with a last message. There will be no other.

        Returns when the last one has ended, and at the end of the drain time whatever clients do.
        """
        self._drain_until = asyncio.get_running_loop().time() + self.limits.drain_seconds
        self.pages.wake()
        for watch in self._watches:
            watch.hurry()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._drain_until):
                await self._empty.wait()

    @contextmanager
    def admit(self, watch: Watching) -> Iterator[None]:
        """A place among the watches. Raises ServerDraining, TooManyWatches."""
        if self.draining:
            raise ServerDraining
        if len(self._watches) >= self.limits.watches_max:
            raise TooManyWatches(self.limits.watches_max)
        self._watches.add(watch)
        self._empty.clear()
        try:
            yield
        finally:
            self._watches.discard(watch)
            if not self._watches:
                self._empty.set()

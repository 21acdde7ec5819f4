"""All watches of a process: what they share, how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
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
    @property
    def behind_at(self) -> LogPosition | None:
        """The place that the watch has reached; None while it has all there is."""
        ...

    def hurry(self) -> None:
        """Call when the server stops: ends long waits for the client, and waits to begin."""


class Times(Protocol):
    async def place_before(self, time: int) -> LogPosition:
        """A place before which every event was recorded before `time` (microseconds), as near to it as is known.

        Its errors end the watches that start at a time.
        """
        ...


SEARCHES_MAX = 4
"""The most times looked for at once, as each search takes a share of the event loop's time."""


SELECTIONS_MAX = 4
"""The most pages of selected streams that are read at once."""


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
        """`encode` makes the bytes of an event in a message. It is called once per form for all watches."""
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
        """The number of watches."""
        return len(self._watches)

    @property
    def furthest_behind(self) -> LogPosition | None:
        """The place of the watch with the largest lag; None if all have all there is."""
        return min((at for watch in self._watches if (at := watch.behind_at)), default=None, key=attrgetter("position"))

    @property
    def draining(self) -> bool:
        return self._drain_until is not None

    def send_until(self) -> float:
        """The deadline, by the loop's clock, for a client to take a message that is sent now."""
        if self._drain_until is not None:
            return self._drain_until
        return asyncio.get_running_loop().time() + self.limits.silence_seconds_max

    async def position_at(self, time: int) -> LogPosition:
        """The place before the first event, in log order, that was recorded at `time` (microseconds) or later.

        A time that several watches ask for at once is looked for once, and no longer than one of them waits. Raises
        StoreUnavailable, and what `Times` does.
        """
        search = self._searches.get(time)
        if search is None:
            search = self._searches[time] = _Search(asyncio.create_task(self._search(time)))
        search.waiting += 1
        try:
            # A watch that leaves does not cancel the search for the others.
            return await asyncio.shield(search.task)
        finally:
            search.waiting -= 1
            if not search.waiting:
                search.task.cancel()
                if self._searches.get(time) is search:
                    del self._searches[time]

    async def select(self, filter: Filter, after: LogPosition) -> Selected | None:
        """The history for a filter after a place, if it can be read without the rest of the log."""
        streams = await streams_of(filter, self.tail.head, self._owners)
        if streams is None or streams.through.position <= after.position:
            return None
        return Selected(self.store, self._reader, streams, after)

    async def page_of(self, selected: Selected) -> Page:
        """The next page of `selected`. Only a few pages are read at a time, to save memory. Raises what `Selected`
        does."""
        async with self._selecting:
            return await selected.page()

    async def _search(self, time: int) -> LogPosition:
        async with self._searching:
            return await self.store.position_at(time, await self._times.place_before(time))

    async def run(self) -> None:
        """Serves the watches until cancelled: cancel it after `drain`. The tail must run at the same time."""
        await self.pages.run()

    async def drain(self) -> None:
        """Ends every watch with a last message, and refuses new ones.

        Returns when the last watch has ended, or at the end of the drain time.
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

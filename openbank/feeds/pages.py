"""Pages of the log, shared by all watches that are at the same place at about the same time.

Recent pages come from the ring. History is read by one reader for all of them, one page at a time: a thousand watches
that start together cost the store no more than one, and can't crowd out what commands and projector want of it. Watches
that lag at many places come together: the last watch is served more often than its turn, until it reaches another one.
From there one page serves both.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import NamedTuple, TypeVar

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.feeds.filter import About, Filter
from openbank.feeds.limits import FeedLimits
from openbank.feeds.parcels import Cutter, Encode, Parcel, record_time_of
from openbank.feeds.turns import Turns
from openbank.following.entry import ENTRY_BYTES, Entry
from openbank.following.tail import LogTail

RECENT_PAGES = 16
HISTORY_PAGES = 64
ENVELOPE_BYTES = 500
"""Bytes of an encoded event beside its payload, in the larger form, a CloudEvent."""
PARCELS_KEPT = 16
"""The most filters for which a page remembers its parcels. The watches of a busy feed usually share one filter, or each
has its own."""
RETRY_SECONDS = 1.0

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Passed(NamedTuple):
    """A place up to which the log holds nothing for a watch, and when the last event before it was recorded, if
    known."""

    place: LogPosition
    record_time: int | None


class Page:
    """Consecutive events of the log: all from `start` to `through`, whole appends."""

    __slots__ = ("_about", "entries", "parcels", "round", "size", "start", "through")

    def __init__(self, start: int, entries: Sequence[Entry], through: LogPosition, round: int = 0) -> None:
        self.start = start
        self.round = round
        """The round of turns in which the page was made. All watches of a round that are at one place get the same
        page."""
        self.entries = entries
        self.through = through
        self._about: About | None = None
        self.parcels: dict[tuple[Filter, int], Sequence[Parcel]] = {}
        self.size = sum([2 * len(entry.event.data) + ENTRY_BYTES + ENVELOPE_BYTES for entry in entries])
        """The size in bytes, approximately: an event that is read is soon encoded too."""

    @property
    def about(self) -> About:
        """What the events are about. Only watches that do not want all of them need it."""
        if self._about is None:
            self._about = About.of(self.entries)
        return self._about

    def holds(self, position: int) -> bool:
        """Whether a watch at `position` can continue with this page."""
        return self.start <= position < self.through.position


class Pages:
    def __init__(self, tail: LogTail, encode: Encode, limits: FeedLimits) -> None:
        self._tail = tail
        self._reader = tail.reader()
        self._cutter = Cutter(encode, limits)
        self._limits = limits
        self.turns = Turns(limits.sends_at_once)
        self._recent: OrderedDict[int, Page] = OrderedDict()
        self._history: OrderedDict[int, Page] = OrderedDict()
        self._history_bytes = 0
        self._releases = 0
        """The number of releases that the pages have seen."""
        self._at_head: dict[Filter | None, set[asyncio.Future[Passed]]] = {}
        self._passed = Passed(BEGINNING, None)
        """The place that all watches at the head have passed, except those that have been woken."""
        self._wanted: dict[LogPosition, set[asyncio.Future[Page | None]]] = {}
        self._wanting = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many watches wait: at the head, for history, or for their turn."""
        behind = sum(map(len, self._wanted.values()))
        return sum(map(len, self._at_head.values())) + behind + self.turns.waiting

    async def run(self) -> None:
        """Wakes the watches at the head when it moves past something for them, and reads history for those behind."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_of_changes())
            tasks.create_task(self._read_history())

    def ready(self, at: LogPosition) -> Page | None:
        """The page with what follows `at`, if it is in memory."""
        self._forget_if_released()
        page = self._recent.get(at.position)
        if page is not None and (page.round == self.turns.round or self._complete(page)):
            return page
        recent = self._tail.recent(at, self._limits.message_events_max)
        if recent is None:
            return next((page for page in reversed(self._history.values()) if page.holds(at.position)), None)
        entries, through = recent
        if through.position <= at.position:
            return None
        page = self._recent[at.position] = Page(at.position, entries, through, self.turns.round)
        if len(self._recent) > RECENT_PAGES:
            self._recent.popitem(last=False)
        return page

    def at_head(self, at: LogPosition) -> bool:
        return at.position >= self._tail.head.position

    async def news(self, filter: Filter | None, seconds: float) -> Passed:
        """For a watch at the head: waits until the log has, or may have, an event that passes the filter; None passes
        all.

        Waits at most `seconds`, and until `wake`.
        """
        return await _wait(self._at_head, filter, seconds, lambda: self._passed)

    async def history(self, at: LogPosition, seconds: float) -> Page | None:
        """The page after `at`, for a watch behind the head; None after `seconds`, and on `wake`."""
        self._wanting.set()
        return await _wait(self._wanted, at, seconds, lambda: None)

    def wake(self) -> None:
        """Ends every wait now."""
        self._wake_head()
        for waiters in self._wanted.values():
            _resolve_all(waiters, None)

    def parcels(self, page: Page, filter: Filter, after: int) -> Sequence[Parcel]:
        """The messages of a page for a watch at `after`. They are encoded and cut once per filter, and shared."""
        key = (filter, after)
        parcels = page.parcels.get(key)
        if parcels is None:
            some = filter.is_open or filter.may_pass(page.about)
            parcels = self._cutter.cut(_after(page, after), page.through, filter) if some else ()
            if len(page.parcels) < PARCELS_KEPT:
                page.parcels[key] = parcels
        return parcels

    def _complete(self, page: Page) -> bool:
        """Whether reading again could not return more than this page has."""
        full = len(page.entries) >= self._limits.message_events_max
        return full or self.at_head(page.through)

    async def _tell_of_changes(self) -> None:
        state: tuple[bool, bool, str | None] = (False, False, None)
        while True:
            if (now := (self._tail.available, self._tail.current, self._tail.replaced)) != state:
                state = now
                self.wake()
            elif not self.at_head(self._passed.place):
                self._pass_on()
            else:
                await self._tail.changed()

    def _pass_on(self) -> None:
        """Moves past new events: wakes the watches that they may concern. The others need not know."""
        page = self.ready(self._passed.place) if self._at_head else None
        if page is None:
            # No watch is at the head, or the new events are not in memory any more: watches read them as history.
            self._wake_head()
            self._passed = Passed(self._tail.head, None)
            return
        for filter, waiters in self._at_head.items():
            if filter is None or filter.may_pass(page.about):
                _resolve_all(waiters, self._passed)
        time = record_time_of(page.entries) if page.entries else self._passed.record_time
        self._passed = Passed(page.through, time)

    def _wake_head(self) -> None:
        for waiters in self._at_head.values():
            _resolve_all(waiters, self._passed)

    async def _read_history(self) -> None:
        for lowest in cycle((False, True)):
            if not self._wanted:
                self._wanting.clear()
                await self._wanting.wait()
            # Each place has its turn, however many watches come later that start further back.
            at = min(self._wanted) if lowest else next(iter(self._wanted))
            try:
                # A page that was read for another watch meanwhile may have it.
                page = self.ready(at) or await self._read(at)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                for waiter in self._wanted.pop(at, ()):
                    if not waiter.done():
                        waiter.set_exception(error)
            else:
                _resolve_all(self._wanted.pop(at, ()), page)

    async def _read(self, at: LogPosition) -> Page:
        entries, through, _ = await self._reader.entries(at, self._limits.message_events_max)
        if through.position <= at.position:
            raise StoreUnavailable(f"nothing after {at.position}, though the log continues")
        page = Page(at.position, entries, through)
        self._history_bytes += page.size - self._forget(page.start)
        self._history[page.start] = page
        while len(self._history) > HISTORY_PAGES or self._history_bytes > self._limits.history_bytes_max:
            self._history_bytes -= self._forget(next(iter(self._history)))
        return page

    def _forget_if_released(self) -> None:
        """Drops all pages after a release: what was quarantined when a page was read is believed now."""
        if self._releases != self._tail.releases:
            self._releases = self._tail.releases
            self._recent.clear()
            self._history.clear()
            self._history_bytes = 0

    def _forget(self, start: int) -> int:
        page = self._history.pop(start, None)
        return page.size if page is not None else 0


def _after(page: Page, position: int) -> Sequence[Entry]:
    """The entries of a page that follow `position`: a watch may come to a page in the middle."""
    if position <= page.start:
        return page.entries
    return page.entries[bisect_right(page.entries, position, key=lambda entry: entry.position) :]


async def _wait(
    waiting: dict[Key, set[asyncio.Future[Answer]]], key: Key, seconds: float, at_last: Callable[[], Answer]
) -> Answer:
    """Waits together with the others of the same key until they are answered. `at_last` answers after `seconds`."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[Answer] = loop.create_future()
    waiters = waiting.setdefault(key, set())
    waiters.add(waiter)
    alarm = loop.call_later(seconds, lambda: _resolve_all((waiter,), at_last()))
    try:
        return await waiter
    finally:
        alarm.cancel()
        waiters.discard(waiter)
        if not waiters and waiting.get(key) is waiters:
            del waiting[key]


def _resolve_all(waiters: Iterable[asyncio.Future[Answer]], answer: Answer) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(answer)

"""One watch: the log after a place, through a filter, for as long as the client stays.

A watch pulls. It is only a position: it takes the next page, sends what passes, and waits for the head to move. There
is no queue to fill up and no special case for watches that fall behind: history, a slow client's lag and the live end
are the same read, so history and live need not be joined. Memory does not grow with lag, and no watch can slow the log
or another watch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from openbank.domain.errors import Refused
from openbank.eventstore.errors import LogReplaced, PositionOutOfRange, StoreDamaged, StoreUnavailable
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.feeds.errors import ServerDraining, SlowConsumer
from openbank.feeds.feed import Feed
from openbank.feeds.filter import Filter
from openbank.feeds.message import FeedMessage, Send, Signal
from openbank.feeds.pages import RETRY_SECONDS, Page
from openbank.feeds.parcels import Parcel
from openbank.feeds.right import Right
from openbank.feeds.selected import Selected


@dataclass(frozen=True, slots=True)
class After:
    """Starts with what follows a place in the log; `After(BEGINNING)` is everything."""

    position: LogPosition


@dataclass(frozen=True, slots=True)
class Live:
    """Starts with every event acknowledged after the first message, and perhaps a few from before."""


@dataclass(frozen=True, slots=True)
class Since:
    """Starts with the first event in the log's order that was recorded at `time` (microseconds) or later."""

    time: int


Start = After | Live | Since


async def watch(
    feed: Feed,
    start: Start,
    filter: Filter,
    stop_when_caught_up: bool,
    send: Send,
    heartbeat_seconds: float | None = None,
    right: Right | None = None,
) -> None:
    """Sends messages until cancelled, or until caught up where that is asked for.

    `send` returns when the client has taken the message, or a buffer with room has. It is cancelled when that takes too
    long, and nothing is sent after. Heartbeats come as often as the limits say, unless the client has a wish of its
    own.

    Raises PositionOutOfRange, StoreUnavailable (at the start only: later the watch waits for the store to come back),
    LogReplaced (at any time), NewerVersionNeeded at an event that only a newer version knows, TooManyWatches,
    SlowConsumer, ServerDraining, and what `right` refuses with.
    """
    watching = _Watch(feed, filter, send, heartbeat_seconds or feed.limits.heartbeat_seconds, right)
    with feed.admit(watching):
        try:
            await watching.begin(start)
            await watching.follow(stop_when_caught_up)
        finally:
            watching.close()
            feed.pages.turns.done(watching)


class _Watch:
    def __init__(self, feed: Feed, filter: Filter, send: Send, heartbeat_seconds: float, right: Right | None) -> None:
        self._feed = feed
        self._filter = filter
        self._send = send
        self._heartbeat_seconds = heartbeat_seconds
        self._right = right
        self._at = BEGINNING
        self._selects = False
        """Whether history is read from the streams that the filter names."""
        self._at_head = False
        """Whether it waits for events that are not there yet."""
        self._selected: Selected | None = None
        self._selecting: asyncio.Task[Page | None] | None = None
        self._said: LogPosition | None = None
        """The place of the last message."""
        self._head_at_start = BEGINNING
        self._passed_time: int | None = None
        self._told_caught_up = False
        self._as_of = 0
        self._last_sent = 0.0
        self._finding: asyncio.Timeout | None = None
        self._sending: asyncio.Timeout | None = None

    @property
    def behind_at(self) -> LogPosition | None:
        return None if self._at_head or self._said is None else self._at

    async def begin(self, start: Start) -> None:
        """The first message: confirms the watch and its place."""
        try:
            async with asyncio.timeout(None) as self._finding:
                await self._find(start)
        except TimeoutError:
            if self._finding is None or not self._finding.expired():
                raise
            raise ServerDraining from None
        finally:
            self._finding = None
        self._selects = self._at == BEGINNING and self._filter.names_some
        await self._say(Signal.CONFIRMED, self._at, caught_up=self._at.position >= self._head_at_start.position)

    async def _find(self, start: Start) -> None:
        head = self._head_at_start = await self._feed.store.head()
        match start:
            case After(place):
                if place.position > head.position:
                    raise PositionOutOfRange
                self._at = place
            case Live():
                self._at = head
            case Since(time):
                self._at = await self._feed.position_at(time)

    async def follow(self, stop_when_caught_up: bool) -> None:
        pages = self._feed.pages
        while not (stop_when_caught_up and self._told_caught_up):
            if self._feed.draining:
                await self._say(Signal.CLOSING, self._at)
                raise ServerDraining(self._said)
            if (refusal := self._refusal()) is not None:
                await self._say(Signal.CLOSING, self._at)
                raise refusal
            if self._feed.tail.replaced is not None:
                raise LogReplaced(self._feed.tail.replaced)
            page = pages.ready(self._at)
            if page is None and not self._heartbeat_due():
                page = await self._wait()
            if page is not None:
                await pages.turns.take(self)
                # Meanwhile there may be more.
                await self._pass(pages.ready(self._at) or page)
                pages.turns.done(self)
            elif self._heartbeat_due():
                await self._say(Signal.HEARTBEAT, self._at)

    async def _wait(self) -> Page | None:
        """Waits for a page, or until one may be in memory, or until there is something else to do."""
        pages = self._feed.pages
        if not pages.at_head(self._at):
            return await self._history()
        # A watch that has not reported that it is caught up must do so, whatever comes.
        wish = self._filter if self._told_caught_up else None
        self._at_head = True
        place, time = await pages.news(wish, self._patience())
        self._at_head = False
        if place.position > self._at.position:
            self._at, self._passed_time = place, time or self._passed_time
        return None

    async def _history(self) -> Page | None:
        """The next page of history; None if there is none yet, and there may be something else to do."""
        if not self._selects:
            # A watch that resumes a little behind the head need not read its streams.
            self._selects = self._filter.names_some
            return await self._feed.pages.history(self._at, self._patience())
        # A task, so that a heartbeat does not restart the read.
        self._selecting = self._selecting or asyncio.create_task(self._select())
        await asyncio.wait([self._selecting], timeout=max(0.0, self._patience()))
        if not self._selecting.done():
            return None
        selecting, self._selecting = self._selecting, None
        try:
            page = selecting.result()
        except StoreUnavailable:
            await asyncio.sleep(RETRY_SECONDS)
            return None
        except StoreDamaged:
            # A stream has lost events. The log has what is left of it, too.
            page = None
        if page is None:
            self._selects = False
            return await self._feed.pages.history(self._at, self._patience())
        return page if page.start == self._at.position else None

    async def _select(self) -> Page | None:
        if self._selected is None or not self._selected.continues(self._at):
            self._selected = await self._feed.select(self._filter, self._at)
        return await self._feed.page_of(self._selected) if self._selected is not None else None

    def close(self) -> None:
        if self._selecting is not None:
            self._selecting.cancel()

    def hurry(self) -> None:
        if self._finding is not None and not self._finding.expired():
            self._finding.reschedule(asyncio.get_running_loop().time())
        sending = self._sending
        if sending is not None and not sending.expired():
            until = self._feed.send_until()
            sending.reschedule(min(until, sending.when() or until))

    async def _pass(self, page: Page) -> None:
        """Sends what passes the filter, and moves to the end of the page."""
        for parcel in self._feed.pages.parcels(page, self._filter, self._at.position):
            if self._refusal() is not None:
                return
            if parcel.newer:
                raise parcel.newer.again()
            self._passed_time = parcel.record_time
            await self._say(Signal.EVENTS, parcel.through, parcel)
            if self._feed.draining:
                return
        self._at = page.through
        if page.entries:
            self._passed_time = page.entries[-1].event.metadata.record_time
        if self._silence_left() <= 0:
            # Many events did not pass: the token moves nevertheless.
            await self._say(Signal.HEARTBEAT, self._at)
        # Neither a page in memory nor a client with room suspends this task; others must have their turn.
        await asyncio.sleep(0)

    async def _say(
        self, signal: Signal, through: LogPosition, parcel: Parcel | None = None, *, caught_up: bool | None = None
    ) -> None:
        if caught_up is None:
            caught_up = self._caught_up(through)
        as_of_time = self._certain_time() if caught_up else self._passed_time
        entries, kept = (parcel.entries, parcel.kept) if parcel else ((), {})
        message = FeedMessage(entries, through, signal, caught_up, as_of_time, kept, self._filter.form)
        try:
            async with asyncio.timeout_at(self._feed.send_until()) as self._sending:
                await self._send(message)
        except TimeoutError:
            if self._sending is None or not self._sending.expired():
                raise
            if self._feed.draining:
                raise ServerDraining(self._said) from None
            raise SlowConsumer(self._said or self._at) from None
        finally:
            self._sending = None
        self._at = self._said = through
        self._told_caught_up = caught_up
        self._last_sent = asyncio.get_running_loop().time()

    def _refusal(self) -> Refused | None:
        """Why the watch may not continue; None as long as it may."""
        if self._right is not None:
            try:
                self._right.check()
            except Refused as refusal:
                return refusal
        return None

    def _patience(self) -> float:
        """How many seconds there is nothing to do as long as nothing happens."""
        left = self._silence_left()
        return left if self._right is None else min(left, self._right.seconds_left())

    def _certain_time(self) -> int:
        """The time up to which this is known to be everything: never earlier than what was sent or reported before."""
        ago = round(self._feed.tail.confirmed_seconds_ago * 1_000_000)
        self._as_of = max(self._as_of, self._feed.clock() - ago, self._passed_time or 0)
        return self._as_of

    def _caught_up(self, through: LogPosition) -> bool:
        """True only with the whole upstream available: otherwise the end of the log is unknown."""
        tail = self._feed.tail
        return tail.current and through.position >= max(self._head_at_start.position, tail.head.position)

    def _heartbeat_due(self) -> bool:
        """Due after a silence, and at once when the watch has caught up and had no event to report it with."""
        return self._silence_left() <= 0 or (not self._told_caught_up and self._caught_up(self._at))

    def _silence_left(self) -> float:
        return self._last_sent + self._heartbeat_seconds - asyncio.get_running_loop().time()

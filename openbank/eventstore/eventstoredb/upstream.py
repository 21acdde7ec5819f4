"""One subscription to EventStoreDB's log, in slices: whatever has arrived, whole commands only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from openbank.codec.events import place_after
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.eventstoredb.events import is_system, whole
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.reading import CaughtUp, Item, Reading, SearchedTo, Stored
from openbank.eventstore.port import LogPosition, LogSlice, RecordedEvent

REST_SECONDS = 0.5
"""How long to wait for the rest of a command before asking the store whether there is one."""
GATHER_SECONDS = 0.005
"""The least time between two live slices, as each wakes every follower of the log. A slice that comes alone does not
wait."""
BUFFER_EVENTS = 1_000
"""Received and not yet taken. With a full buffer nothing more is read, and gRPC holds the server back."""


class Upstream:
    def __init__(
        self,
        link: Link,
        subscription: Reading,
        after: LogPosition,
        convert: Callable[[Stored], RecordedEvent],
        passed: Callable[[LogPosition, int], None],
        locate: Callable[[str, int], Awaitable[LogPosition | None]],
    ) -> None:
        """`passed` is called with how far the log is known, and a later position up to which (inclusive) nothing of the
        bank's follows. `locate` is the store's."""
        self._link = link
        self._subscription = subscription
        self._after = after.position
        self._through = after
        self._convert = convert
        self._passed = passed
        self._locate = locate
        self._checkpoint = 0
        """The last one. An event at its position may not be written yet, and would then be skipped by a subscription
        from there: so it is passed on only once there is a later one."""
        self._arrived: asyncio.Queue[Item | None] = asyncio.Queue(BUFFER_EVENTS)
        self._held: list[RecordedEvent] = []
        """The beginning of a command whose other events have not arrived."""
        self._live = False
        self._gave_at = 0.0
        """When the last slice was given, by the loop's clock."""
        self._receiving = asyncio.create_task(self._receive())

    async def next(self) -> LogSlice:
        """The next slice, as soon as there is one. Raises StoreUnavailable once the subscription has ended."""
        while True:
            if self._arrived.empty() and self._receiving.done():
                await self._raise()
            item, split = await self._next_item(), False
            if item is None and self._held and not self._receiving.done():
                split = await self._is_split(self._held[-1])
            if item is not None and self._live:
                await self._gather()
            caught_up = False
            while item is not None:
                caught_up |= self._take(item)
                if self._arrived.empty():
                    break
                item = self._arrived.get_nowait()
            count = len(self._held) if split else whole(self._held)
            events, self._held = self._held[:count], self._held[count:]
            self._through = place_after(events, self._through)
            if events or caught_up:
                caught_up = self._live and self._arrived.empty() and not self._held
                # A tombstone is an event of its stream that no program wrote.
                return LogSlice([event for event in events if not is_system(event)], self._through, caught_up)

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._gave_at + GATHER_SECONDS - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        self._gave_at = loop.time()

    async def _next_item(self) -> Item | None:
        """None at the end, and when the rest of a command does not come."""
        try:
            async with asyncio.timeout(REST_SECONDS if self._held else None):
                return await self._arrived.get()
        except TimeoutError:
            return None

    async def _is_split(self, last: RecordedEvent) -> bool:
        """Whether the rest of a command is not in its stream: as appends are atomic, another program's event says that
        it is part of one."""
        return await self._locate(last.stream, last.revision + 1) is None

    async def close(self) -> None:
        await self._subscription.stop()
        self._receiving.cancel()
        await asyncio.gather(self._receiving, return_exceptions=True)

    def _take(self, item: Item) -> bool:
        """Whether it says that the end of the log is reached."""
        if isinstance(item, CaughtUp):
            self._live = True
            return True
        if not isinstance(item, SearchedTo):
            event = self._convert(item)
            # The server may have been asked to start at an earlier place.
            if event.position > self._after:
                self._held.append(event)
        elif not self._held:
            self._note_checkpoint(item.commit_position)
        return False

    def _note_checkpoint(self, position: int) -> None:
        if position > self._checkpoint:
            if self._checkpoint > self._through.position:
                self._passed(self._through, self._checkpoint)
            self._checkpoint = position

    async def _receive(self) -> None:
        try:
            async for item in self._subscription.items():
                self._link.pulse.heard()
                await self._arrived.put(item)
        finally:
            self._link.guard.lost()
            # A full buffer has a reader that is not waiting, and looks at this task when it has taken all.
            if not self._arrived.full():
                self._arrived.put_nowait(None)

    async def _raise(self) -> None:
        with self._link.errors():
            await self._receiving
            raise StoreUnavailable("the subscription has ended")

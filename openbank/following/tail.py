"""The log as this process follows it: one subscription to the store for all readers.

Readers pull. The tail keeps a ring of recent events and signals when its head has moved. Each reader (the projector,
every watch) is only a position. A slow reader therefore costs nothing and delays no other. A reader behind the ring
reads the store, by the same call.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Sequence

from openbank.codec.events import is_ours
from openbank.eventstore.errors import LogReplaced, StoreDamaged, StoreUnavailable
from openbank.eventstore.known import known, needed_by
from openbank.eventstore.port import BEGINNING, Aside, EventStore, LogPosition, LogSlice, RecordedEvent
from openbank.following.entry import ENTRY_BYTES, Entry, place_after
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from openbank.pause import Backoff

RING_BYTES = 16 << 20
"""Bounds the ring, like `ring_events`, in bytes: payloads, and ENTRY_BYTES for each entry."""

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)


class LogTail:
    def __init__(
        self,
        store: EventStore,
        ring_events: int | None = None,
        ring_bytes: int = RING_BYTES,
        quarantine: Quarantine | None = None,
    ) -> None:
        """With a quarantine, events are checked. Live events of a store with one writer were checked here before
        they were stored."""
        self.head = BEGINNING
        """How far the log has been followed."""
        self.available = False
        """Whether the subscription is open."""
        self.current = False
        """Whether the subscription has reached the end of the log since it was opened. Before that it is catching
        up."""
        self.opened = self.misses = 0
        """How often the subscription was opened, and how often a follower was behind the ring and read the store."""
        self._confirmed_at: float | None = None
        """While events that have arrived are not processed yet: the time, by the loop's clock, up to which none is
        missing."""
        self._replaced: str | None = None
        self._store = store
        self._quarantine = quarantine
        self._checker = None if store.sole_writer else self._new_checker()
        self._ring_releases = 0
        """The number of releases that the ring has seen."""
        self._ring: list[Entry] = []
        self._ring_events, self._ring_bytes_max = ring_events, ring_bytes
        self._ring_bytes = 0
        self._floor: int | None = None
        """The ring holds all that follows this position; None before the log is followed."""
        self._change = asyncio.Event()

    @property
    def replaced(self) -> str | None:
        """Why nothing may be served any more: the store holds another log, or one that no bank wrote."""
        return self._replaced or (self._quarantine.too_many if self._quarantine else None)

    @property
    def confirmed_seconds_ago(self) -> float:
        """The age, at most, of the moment up to which every event has been followed; while `current`."""
        if self._confirmed_at is None:
            return self._store.confirmed_seconds_ago
        return asyncio.get_running_loop().time() - self._confirmed_at

    async def run(self) -> None:
        """Follows the log until cancelled, until the store is closed, or until it holds another log; what it misses
        while the store is away, it catches up with.

        It begins with what is appended from now on. Readers find history in the store.
        """
        backoff = Backoff(BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX)
        while True:
            try:
                if self._floor is None:
                    self.head = await self._store.head()
                    self._floor = self.head.position
                async for page in self._store.subscribe(self.head):
                    if self._confirmed_at is None:
                        self._confirmed_at = asyncio.get_running_loop().time() - self._store.confirmed_seconds_ago
                    self._take(page, await _entries(page.events, self._checker))
                    if page.caught_up:
                        self._confirmed_at = None
                    backoff.reset()
                return
            except LogReplaced as error:
                self._replaced = str(error)
                _log.error("another log", extra={"values": {"reason": error}})
                return
            except StoreDamaged as error:
                _log.error("log is not followed any more", extra={"values": {"reason": error}})
                return
            except StoreUnavailable as error:
                retry_seconds = backoff.next()
                values = {"reason": error, "retry_seconds": round(retry_seconds, 1)}
                _log.warning("event store unavailable", extra={"values": values})
            finally:
                self.available = self.current = False
                self._confirmed_at = None
                self._announce()
            await asyncio.sleep(retry_seconds)

    def recent(self, after: LogPosition, limit: int) -> tuple[Sequence[Entry], LogPosition] | None:
        """The entries after `after` and the place that they reach, from memory; None if the ring does not reach back
        that far.

        Up to about `limit` entries: an append is never split.
        """
        self._forget_if_released()
        if self._floor is None or after.position < self._floor:
            return None
        if after.position >= self.head.position:
            return (), after
        ring = self._ring
        start = bisect_right(ring, after.position, key=_position)
        end = min(start + limit, len(ring))
        while end < len(ring) and not ring[end - 1].ends_append:
            end += 1
        entries = ring[start:end]
        return entries, self.head if end == len(ring) else place_after(entries, after)

    def reader(self, *, checked: bool = True) -> LogReader:
        """A new follower. A follower that checks all events itself reads them unchecked from the store."""
        return LogReader(self, self._store, self._new_checker() if checked else None)

    def _new_checker(self) -> Checker | None:
        return Checker(self._store, self._quarantine) if self._quarantine else None

    @property
    def releases(self) -> int:
        """Counts releases of events that were not believed before. Entries from before the last one may be stale."""
        return self._quarantine.releases if self._quarantine else 0

    async def wait(self, after: int) -> None:
        """Until the head is past the position `after`."""
        while self.head.position <= after:
            await self.changed()

    async def changed(self) -> None:
        """Until the head moves, or the subscription breaks, stands again or comes to the end of the log."""
        await self._change.wait()

    def _take(self, page: LogSlice, entries: Sequence[Entry]) -> None:
        changed = page.through.position > self.head.position or not self.available
        if page.caught_up and not self.current:
            self.current = changed = True
        for entry in entries:
            self._ring.append(entry)
            self._ring_bytes += _size(entry.event)
        self._trim()
        self.head = page.through
        self.opened += not self.available
        self.available = True
        if changed:
            self._announce()

    def _trim(self) -> None:
        drop = max(0, len(self._ring) - self._ring_events) if self._ring_events is not None else 0
        size = self._ring_bytes - sum(_size(entry.event) for entry in self._ring[:drop])
        while size > self._ring_bytes_max:
            size -= _size(self._ring[drop].event)
            drop += 1
        if drop:
            self._floor = self._ring[drop - 1].position
            del self._ring[:drop]
            self._ring_bytes = size

    def _forget_if_released(self) -> None:
        """What was released is believed now: the store is read again."""
        if self.releases != self._ring_releases and self._floor is not None:
            self._ring_releases = self.releases
            self._ring, self._ring_bytes = [], 0
            self._floor = self.head.position

    def _announce(self) -> None:
        # A new event each time: who waits for the next change must not see this one.
        self._change.set()
        self._change = asyncio.Event()


class LogReader:
    """One follower of the log, at its own pace: from memory, or from the store."""

    def __init__(self, tail: LogTail, store: EventStore, checker: Checker | None) -> None:
        self._tail = tail
        self._store = store
        self._checker = checker

    async def read(self, after: LogPosition, limit: int = 1000) -> LogSlice:
        """What follows `after`, without what is not believed, which stands beside it. Raises StoreUnavailable.

        It ends before an event that only a newer version knows, and raises NewerVersionNeeded where that comes next.
        Where it says `caught_up`, the next thing to do is to `wait`.
        """
        recent = self._tail.recent(after, limit)
        if recent is None and self._checker is None:
            return await self._stored(after, limit)
        entries, through, caught_up = await self._entries(after, limit, recent)
        before = known(entries)
        if len(before) < len(entries):
            if not before:
                raise needed_by(entries)
            entries, through, caught_up = before, place_after(before, after), False
        events = [
            entry.event for entry in entries if not entry.aside and (entry.category or not is_ours(entry.event.type))
        ]
        aside = [Aside(entry.event, entry.aside.reason) for entry in entries if entry.aside]
        return LogSlice(events, through, caught_up, aside or ())

    async def entries(self, after: LogPosition, limit: int = 1000) -> tuple[Sequence[Entry], LogPosition, bool]:
        """The same with all entries in order, how far that is, and whether that is all there is."""
        return await self._entries(after, limit, self._tail.recent(after, limit))

    async def _entries(
        self, after: LogPosition, limit: int, recent: tuple[Sequence[Entry], LogPosition] | None
    ) -> tuple[Sequence[Entry], LogPosition, bool]:
        if recent is not None:
            entries, through = recent
            return entries, through, through.position >= self._tail.head.position
        page = await self._stored(after, limit)
        return await _entries(page.events, self._checker), page.through, page.caught_up

    async def _stored(self, after: LogPosition, limit: int) -> LogSlice:
        """What follows `after` in the store, unchecked."""
        followed = self._tail.head
        self._tail.misses += 1
        page = await self._store.read_log(after, limit)
        if page.caught_up and page.through.position < followed.position:
            # The rest is not the bank's: nothing that was followed before this read can be missing in it.
            return page._replace(through=followed)
        return page

    async def judge(self, events: Sequence[RecordedEvent]) -> Sequence[Entry]:
        """Events of some streams, in the order of the log and without a gap in any of them, as `entries` gives them."""
        return await _entries(events, self._checker)

    async def wait(self, after: int) -> None:
        """Until the head is past the position `after`."""
        await self._tail.wait(after)


async def _entries(events: Sequence[RecordedEvent], checker: Checker | None) -> list[Entry]:
    if checker is None:
        return [Entry(event) for event in events]
    checked = await checker.check(events)
    return [Entry(event, aside, skipped, newer) for event, _, aside, skipped, newer in checked]


def _position(entry: Entry) -> int:
    return entry.position


def _size(event: RecordedEvent) -> int:
    return len(event.data) + ENTRY_BYTES

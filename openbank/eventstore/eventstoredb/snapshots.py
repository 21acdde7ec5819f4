"""Snapshots on EventStoreDB: those of a stream are in a stream of their own, where all instances find them.

Each append to it expects what was last seen there, so snapshots are in the order of their revisions, whichever instance
wrote them. They are written beside the events. A snapshot that cannot be written is dropped.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from esdbclient.exceptions import NotFound

from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreUnavailable, WrongExpectedRevision
from openbank.eventstore.eventstoredb.append_messages import nowhere
from openbank.eventstore.eventstoredb.appends import Appends
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.port import SNAPSHOT_EVENTS, Metadata, NewEvent, Snapshot

STREAM_PREFIX = "openbank-snapshots-"
"""The prefix of the streams' names. The log's filter does not match it, so snapshots are not part of the log."""
TYPE = "openbank.Snapshot"
WRITTEN_TOGETHER = 100
UNWRITTEN_MAX = 10_000
"""The most snapshots that wait to be written, of all streams; more are dropped."""
ENDS_MAX = 20_000
"""The most streams whose last snapshot is remembered, about 200 bytes each, so that the next is written without a
read."""

_HEAD = struct.Struct(">q16s")


class _End(NamedTuple):
    """How many snapshots a stream has, and the revision of the last."""

    snapshots: int
    revision: int


_NONE = _End(0, 0)


class Snapshots:
    def __init__(self, link: Link, appends: Appends, prefix: str) -> None:
        self._link = link
        self._appends = appends
        self._prefix = prefix + STREAM_PREFIX
        self._unwritten: dict[str, list[Snapshot]] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._ends: OrderedDict[str, _End] = OrderedDict()

    async def newest(self, stream: str, through: int | None) -> Snapshot | None:
        """The newest snapshot, up to the revision `through` if one is given. Raises StoreUnavailable."""
        fits = [one for one in self._unwritten.get(stream, ()) if through is None or one.revision <= through]
        if fits:
            return fits[-1]
        if through is None:
            return await self._last(stream)
        number = through // SNAPSHOT_EVENTS - 1
        if number < 0:
            return None
        # There is at most one per SNAPSHOT_EVENTS revisions, so the wanted one has this number or, if some were lost, a
        # smaller one.
        found = await self._back_from(stream, number, 2)
        fits = [one for one in found if one.revision <= through]
        if fits or not found:
            return next(iter(fits), None)
        return await self._search(stream, through, number - len(found))

    def keep(self, stream: str, snapshot: Snapshot) -> None:
        if sum(map(len, self._unwritten.values())) >= UNWRITTEN_MAX:
            return
        self._unwritten.setdefault(stream, []).append(snapshot)
        if stream not in self._writing:
            self._writing[stream] = asyncio.create_task(self._write(stream))

    async def close(self) -> None:
        """Drops what is not written yet."""
        tasks = list(self._writing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, stream: str) -> None:
        try:
            while some := self._unwritten[stream][:WRITTEN_TOGETHER]:
                await self._append(stream, some)
                del self._unwritten[stream][: len(some)]
        except (StoreUnavailable, OutcomeUnknown, StoreDamaged, ValueError):
            self._ends.pop(stream, None)
        finally:
            del self._unwritten[stream], self._writing[stream]

    async def _append(self, stream: str, some: Sequence[Snapshot]) -> None:
        end = self._ends.get(stream)
        if end is None and some[0].revision >= 2 * SNAPSHOT_EVENTS:
            await self._last(stream)
            end = self._ends.get(stream)
        end = end or _NONE
        new = [one for one in some if one.revision > end.revision]
        if not new:
            return
        try:
            await self._appends.append(self._prefix + stream, end.snapshots, [event_of(one) for one in new], nowhere)
        except WrongExpectedRevision:
            # Another instance was first, with the same snapshots or nearly the same.
            self._ends.pop(stream, None)
        else:
            self._note(stream, _End(end.snapshots + len(new), new[-1].revision))

    async def _last(self, stream: str) -> Snapshot | None:
        stored = await self._read(stream, limit=1)
        if not stored:
            return None
        last = _snapshot(stored[0])
        self._note(stream, _End(stored[0].stream_position + 1, last.revision))
        return last

    async def _back_from(self, stream: str, number: int, limit: int) -> Sequence[Snapshot]:
        return [_snapshot(event) for event in await self._read(stream, stream_position=number, limit=limit)]

    async def _search(self, stream: str, through: int, high: int) -> Snapshot | None:
        """The newest snapshot up to a revision, among those with numbers up to `high`."""
        low, best = 0, None
        while low <= high:
            middle = (low + high) // 2
            found = await self._back_from(stream, middle, 1)
            if found and found[0].revision <= through:
                low, best = middle + 1, found[0]
            else:
                high = middle - 1
        return best

    async def _read(self, stream: str, **options: int) -> Sequence[Stored]:
        """Newest first."""
        try:
            return await self._link.read(stream_name=self._prefix + stream, backwards=True, **options)
        except (NotFound, StoreDamaged):
            return ()

    def _note(self, stream: str, end: _End) -> None:
        self._ends[stream] = end
        self._ends.move_to_end(stream)
        if len(self._ends) > ENDS_MAX:
            self._ends.popitem(last=False)


def event_of(snapshot: Snapshot) -> NewEvent:
    """The event that stores it."""
    revision, event_id, data = snapshot
    return NewEvent(os.urandom(16), TYPE, _HEAD.pack(revision, event_id) + data, Metadata(0))


def _snapshot(stored: Stored) -> Snapshot:
    if len(stored.data) < _HEAD.size:
        return Snapshot(0, b"", b"")
    revision, event_id = _HEAD.unpack_from(stored.data)
    return Snapshot(revision, event_id, stored.data[_HEAD.size :])

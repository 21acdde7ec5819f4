"""Which requests a stream has: from memory, from an index outside the store, or from the stream itself.

Ids that are read or appended here are remembered, 8 bytes per event, so that a command on a stream in use needs no
other source. For earlier events an index is asked: the views have one. Without an index the stream is read, once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from openbank.eventstore.eventstoredb.request_ids import RequestIds
from openbank.eventstore.port import NO_STREAM, RecordedEvent
from openbank.eventstore.request_index import Indexed, RequestIndex

MEMORY_BYTES_MAX = 64 << 20
EVENT_BYTES = 8
STREAM_BYTES = 600
"""Memory of one stream beside its events, in bytes."""
PAGE = 1_000
ASK_EVENTS = 20
"""Asking an index on a server takes about as long as reading this many events."""

_log = logging.getLogger(__name__)

Read = Callable[[str, int, int], Awaitable[Sequence[RecordedEvent]]]
"""`read_stream` of the port: stream, after, limit."""
ReadOne = Callable[[str, int], Awaitable[Sequence[RecordedEvent]]]
"""The event of a stream with a revision, if it is there."""


class Requests:
    """Methods take what they need of `_streams` before they await: other calls change it meanwhile."""

    def __init__(self, read: Read, read_one: ReadOne, index: RequestIndex | None) -> None:
        self._read = read
        self._read_one = read_one
        self._index = index
        self._index_away = False
        self._streams: OrderedDict[str, RequestIds] = OrderedDict()
        self._bytes = 0

    async def find(self, stream: str, request_ids: Sequence[bytes], through: int | None) -> Sequence[RecordedEvent]:
        """The events of these requests in a stream, in order; up to the revision `through`, or all."""
        wanted = set(request_ids) - {b""}
        ids = self._streams.get(stream)
        if ids is None or (through or 0) - ids.through > PAGE:
            # An old stretch of the stream, as a replay reads, does not help to answer this question.
            return await self._before(stream, through, wanted)
        before, after = ids.after, ids.through
        revisions = {revision for one in wanted for revision in ids.find(one)}
        if after == through and not before and not revisions:
            return ()
        earlier = await self._before(stream, before, wanted) if before else ()
        await self._extend(stream, ids)
        known = await self._at(stream, revisions, wanted)
        return [*earlier, *known, *await self._between(stream, after, through, wanted)]

    async def reached(self, stream: str) -> int:
        """The highest revision of the stream that is known without a round trip; 0 if none is."""
        ids = self._streams.get(stream)
        if ids is not None:
            return ids.through
        if self._index is None or self._index.shared:
            return NO_STREAM
        indexed = await self._ask_index(stream, set())
        return indexed.through if indexed else NO_STREAM

    def note(self, stream: str, after: int, request_ids: Sequence[bytes]) -> None:
        """The requests of consecutive events after a revision."""
        if not request_ids:
            return
        ids = self._streams.get(stream)
        if ids is None or after > ids.through + PAGE:
            self._keep(stream, RequestIds(after))
            ids = self._streams[stream]
        skip = ids.through - after
        if 0 <= skip < len(request_ids):
            ids.add(request_ids[skip:])
            self._bytes += EVENT_BYTES * (len(request_ids) - skip)
            self._streams.move_to_end(stream)
            self._forget()

    def _keep(self, stream: str, ids: RequestIds) -> None:
        old = self._streams.get(stream)
        self._bytes += _bytes(ids) - (_bytes(old) if old else 0)
        self._streams[stream] = ids
        self._streams.move_to_end(stream)

    def _forget(self) -> None:
        while self._bytes > MEMORY_BYTES_MAX:
            self._bytes -= _bytes(self._streams.popitem(last=False)[1])

    async def _between(
        self, stream: str, after: int, through: int | None, wanted: set[bytes]
    ) -> Sequence[RecordedEvent]:
        """Events of these requests after a revision; through another, or to the end."""
        found: list[RecordedEvent] = []
        while through is None or after < through:
            page = await self._read(stream, after, PAGE if through is None else min(PAGE, through - after))
            found += _of(page, wanted)
            after += len(page)
            if len(page) < PAGE:
                break
        return found

    async def _before(self, stream: str, through: int | None, wanted: set[bytes]) -> Sequence[RecordedEvent]:
        """Events of these requests up to a revision, or all: those that are not in memory."""
        indexed = await self._ask_index(stream, wanted)
        if indexed is None or not indexed.through or (through or 0) - indexed.through > PAGE:
            return await self._read_all(stream, through, wanted)
        revisions = {one for one in indexed.revisions if one <= min(indexed.through, through or indexed.through)}
        return [
            *await self._at(stream, revisions, wanted),
            *await self._between(stream, indexed.through, through, wanted),
        ]

    async def _read_all(self, stream: str, through: int | None, wanted: set[bytes]) -> Sequence[RecordedEvent]:
        """From the first event on; all that is read is remembered."""
        ids, found = RequestIds(NO_STREAM), list[RecordedEvent]()
        page = None
        while page is None or len(page) == PAGE:
            page = await self._read(stream, ids.through, PAGE)
            ids.add([event.metadata.request_id for event in page])
            found += _of(page, wanted)
        known = self._streams.get(stream)
        if known is None or known.through <= ids.through:
            self._keep(stream, ids)
            self._forget()
        return [event for event in found if through is None or event.revision <= through]

    async def _extend(self, stream: str, ids: RequestIds) -> None:
        """Remembers some more events, once further questions to the server would cost as much as reading them."""
        ids.asked += 1
        events = min(ids.after, PAGE)
        if not events or self._index is None or not self._index.shared or ids.asked * ASK_EVENTS < events:
            return
        after = ids.after - events
        page = await self._read(stream, after, events)
        if ids.after == after + len(page):
            ids.add_before([event.metadata.request_id for event in page])
            self._bytes += EVENT_BYTES * len(page) if self._streams.get(stream) is ids else 0
            self._forget()

    async def _ask_index(self, stream: str, wanted: set[bytes]) -> Indexed | None:
        """None if there is no index, or it is unavailable."""
        if self._index is None:
            return None
        try:
            indexed = await self._index.find_requests(stream, tuple(wanted))
        except Exception as error:
            if not self._index_away:
                _log.warning(
                    "index of requests unavailable: streams are read instead", extra={"values": {"reason": error}}
                )
            self._index_away = True
            return None
        self._index_away = False
        return indexed

    async def _at(self, stream: str, revisions: set[int], wanted: set[bytes]) -> Sequence[RecordedEvent]:
        """The events at these revisions that have one of these requests."""
        # A replay usually has one event, and all of it is needed. A command may have several events.
        read = self._read_one if len(revisions) == 1 else lambda stream, revision: self._read(stream, revision - 1, 1)
        events = [event for revision in sorted(revisions) for event in await read(stream, revision)]
        return _of(events, wanted)


def _bytes(ids: RequestIds) -> int:
    return STREAM_BYTES + EVENT_BYTES * len(ids)


def _of(events: Sequence[RecordedEvent], wanted: set[bytes]) -> list[RecordedEvent]:
    return [event for event in events if event.metadata.request_id in wanted]

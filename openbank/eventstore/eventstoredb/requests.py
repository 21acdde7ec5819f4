"""Which requests a stream has, without reading all of it for each command.

A long stream is read once per process, by whoever folds it or looks for a request; what is remembered of it is 16
bytes an event. Where memory does not hold it, an index outside the store can say what it knows.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence

from openbank.eventstore.port import NO_STREAM, RecordedEvent
from openbank.eventstore.request_index import RequestIndex

MEMORY_BYTES_MAX = 64 << 20
REMEMBERED_EVENTS_MIN = 256
"""Shorter streams are not remembered: they are read as fast."""
PAGE = 1_000

_ID_BYTES = 16
_NONE = os.urandom(_ID_BYTES)
"""In the place of an event without a request."""
_log = logging.getLogger(__name__)

Read = Callable[[str, int, int], Awaitable[Sequence[RecordedEvent]]]
"""`read_stream` of the port: stream, after, limit."""


class Requests:
    def __init__(self, read: Read, index: RequestIndex | None) -> None:
        self._read = read
        self._index = index
        self._index_away = False
        self._streams: OrderedDict[str, bytearray] = OrderedDict()
        """Of each stream, from its first event on: every event's request id, or _NONE."""
        self._bytes = 0

    async def find(self, stream: str, request_ids: Sequence[bytes]) -> Sequence[RecordedEvent]:
        """The events of these requests in a stream, in order."""
        wanted = set(request_ids) - {b""}
        ids = self._streams.get(stream)
        if ids is None:
            found = await self._find_by_index(stream, wanted)
            if found is not None:
                return found
            ids = bytearray()
        # All of it now: while what follows is awaited, `note` may add to these very bytes.
        after = len(ids) // _ID_BYTES
        revisions = {revision for one in wanted for revision in _revisions(ids, one)}
        found = await self._at(stream, revisions, wanted)
        page = None
        while page is None or len(page) == PAGE:
            page = await self._read(stream, after, PAGE)
            found += _of(page, wanted)
            after += len(page)
        return found

    def note(self, stream: str, after: int, request_ids: Sequence[bytes]) -> None:
        """The requests of consecutive events after a revision: remembered where they continue what is."""
        ids = self._streams.get(stream)
        if ids is None:
            if after != NO_STREAM or len(request_ids) < REMEMBERED_EVENTS_MIN:
                return
            ids = self._streams[stream] = bytearray()
        skip = len(ids) // _ID_BYTES - after
        if not 0 <= skip < len(request_ids):
            return
        new = b"".join([one if len(one) == _ID_BYTES else _NONE for one in request_ids[skip:]])
        ids += new
        self._bytes += len(new)
        self._streams.move_to_end(stream)
        while self._bytes > MEMORY_BYTES_MAX:
            self._bytes -= len(self._streams.popitem(last=False)[1])

    async def _find_by_index(self, stream: str, wanted: set[bytes]) -> list[RecordedEvent] | None:
        """None where there is no index, or it is away, or so far behind that the stream is better read."""
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
        unseen = await self._read(stream, indexed.through, PAGE)
        if len(unseen) == PAGE:
            return None
        return await self._at(stream, set(indexed.revisions), wanted) + _of(unseen, wanted)

    async def _at(self, stream: str, revisions: set[int], wanted: set[bytes]) -> list[RecordedEvent]:
        """The events at these revisions. What an index says is believed only where the stream says the same."""
        events = [event for revision in sorted(revisions) for event in await self._read(stream, revision - 1, 1)]
        return _of(events, wanted)


def _of(events: Sequence[RecordedEvent], wanted: set[bytes]) -> list[RecordedEvent]:
    return [event for event in events if event.metadata.request_id in wanted]


def _revisions(ids: bytearray, request_id: bytes) -> Iterator[int]:
    at = ids.find(request_id)
    while at >= 0:
        if at % _ID_BYTES == 0:
            yield at // _ID_BYTES + 1
        at = ids.find(request_id, at + 1)

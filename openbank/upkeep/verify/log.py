"""The log as it is read to be checked, from either store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Protocol

from openbank.config import Settings, is_embedded
from openbank.eventstore.errors import StreamDamaged
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.eventstore.quarantine_record import QuarantineRecord, decode_record
from openbank.eventstore.sqlite import LogFile
from openbank.extras import needs

if TYPE_CHECKING:
    from openbank.eventstore.eventstoredb import EventStoreDBEventStore

PAGE = 1_000
"""Events read at a time from EventStoreDB."""


class VerifiedLog(Protocol):
    """The log, as it is read to be checked."""

    bank_id: str
    store_id: str
    gapless: bool
    """Whether each event's position is the one before it and 1."""
    end: int
    """The position up to which `events` has read, where that is past the last event."""

    def events(self, after: LogPosition) -> AsyncIterator[RecordedEvent | str]:
        """The events after a position, up to the end. A damaged event comes as a description of the damage."""
        ...

    async def last(self) -> int:
        """The position of the last event, as of now."""
        ...

    async def event(self, stream: str, revision: int) -> RecordedEvent | None:
        """None for one that is not there, or cannot be read."""
        ...

    def faults(self, end: int) -> AsyncIterator[str]:
        """What else is wrong with the log, whose events end at the position `end`."""
        ...

    async def quarantine(self) -> QuarantineRecord: ...


class _FileLog:
    """The embedded store's."""

    gapless = True
    end = 0

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self.bank_id, self.store_id = file.bank_id, file.store_id

    async def events(self, after: LogPosition) -> AsyncIterator[RecordedEvent | str]:
        for event in self._file.events(after.position):
            yield event

    async def last(self) -> int:
        return self._file.last()

    async def event(self, stream: str, revision: int) -> RecordedEvent | None:
        return self._file.event(stream, revision)

    async def faults(self, end: int) -> AsyncIterator[str]:
        for fault in self._file.faults(end):
            yield fault

    async def quarantine(self) -> QuarantineRecord:
        return self._file.quarantine()


class _ServerLog:
    """EventStoreDB's."""

    gapless = False

    def __init__(self, store: EventStoreDBEventStore) -> None:
        self._store = store
        self.end = 0
        self.bank_id, self.store_id = store.bank_id, store.store_id

    async def events(self, after: LogPosition) -> AsyncIterator[RecordedEvent | str]:
        while True:
            page = await self._store.read_log(after, PAGE)
            for event in page.events:
                yield event
            after = page.through
            self.end = after.position
            if page.caught_up:
                return

    async def last(self) -> int:
        return (await self._store.head()).position

    async def event(self, stream: str, revision: int) -> RecordedEvent | None:
        try:
            events = await self._store.read_stream(stream, revision - 1, 1)
        except StreamDamaged:
            return None
        return events[0] if events and events[0].revision == revision else None

    async def faults(self, end: int) -> AsyncIterator[str]:
        async for fault in self._store.hidden():
            yield fault

    async def quarantine(self) -> QuarantineRecord:
        return decode_record((await self._store.quarantine()).data)


async def open_log(stack: AsyncExitStack, settings: Settings) -> VerifiedLog:
    if is_embedded(settings.event_store):
        return _FileLog(stack.enter_context(closing(LogFile(settings.data.resolve()))))
    with needs("eventstoredb", "an address that begins with esdb"):
        from openbank.eventstore.eventstoredb import EventStoreDBEventStore

    wait = settings.store_wait_seconds
    store = await EventStoreDBEventStore.open(settings.event_store, wait_seconds=wait, make=False)
    stack.push_async_callback(store.close)
    return _ServerLog(store)

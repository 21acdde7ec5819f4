"""An event store in a list, for tests of what is built on one: it can go away, and its log can have others' events."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import count

from openbank.eventstore.errors import AppendTooLarge, StoreUnavailable, WrongExpectedRevision
from openbank.eventstore.port import (
    APPEND_BYTES_MAX,
    BEGINNING,
    NO_STREAM,
    KeptRecord,
    LogPosition,
    LogSlice,
    Metadata,
    Newest,
    NewEvent,
    RecordedEvent,
    Snapshot,
)
from openbank.eventstore.seal import TokenKey

_ids = count(1)


class MemoryStore:
    """Positions have gaps when `step` is more than 1, as EventStoreDB's have."""

    sole_writer = True
    writable = True
    after_loss = "there is nothing to do in a test"

    def __init__(self, step: int = 1) -> None:
        self.bank_id = "b0" * 16
        self.store_id = "50" * 16
        self.token_key = TokenKey.from_hex("5e" * 32)
        self.reads = 0
        """How often the log has been read, subscriptions not counted."""
        self.subscriptions = 0
        """How many there are."""
        self._step = step
        self.events: list[RecordedEvent] = []
        self._snapshots: dict[str, list[Snapshot]] = {}
        self._quarantine = KeptRecord()
        self._streams: dict[str, list[RecordedEvent]] = {}
        self._head = BEGINNING
        self._down = False
        self._closed = False
        self._change = asyncio.Event()

    def go_away(self) -> None:
        """Breaks subscriptions, and refuses everything until `come_back`."""
        self._down = True
        self._announce()

    def come_back(self) -> None:
        self._down = False
        self._announce()

    def pass_others(self) -> None:
        """The log moves past events of other programs, which this store leaves out."""
        self._head = self._head._replace(position=self._head.position + self._step)
        self._announce()

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        self._check()
        if sum(len(event.data) for event in events) > APPEND_BYTES_MAX:
            raise AppendTooLarge(stream)
        history = self._streams.setdefault(stream, [])
        if len(history) != expected_revision:
            again = history[expected_revision : expected_revision + len(events)]
            if [event.id for event in again] == [event.id for event in events]:
                return again[-1].position
            raise WrongExpectedRevision(stream)
        position = self._head.position
        for revision, event in enumerate(events, expected_revision + 1):
            position += self._step
            recorded = RecordedEvent(position, stream, revision, *event)
            history.append(recorded)
            self.events.append(recorded)
        self._head = self.events[-1].place
        self._announce()
        return position

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = 1000) -> Sequence[RecordedEvent]:
        self._check()
        return self._streams.get(stream, [])[after : after + limit]

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        self._check()
        return self._streams.get(stream, [])[-limit:]

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        self._check()
        events = self._streams.get(stream, [])[:through]
        return Newest(events[-limit:], await self.snapshot(stream, through))

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        kept = [one for one in self._snapshots.get(stream, []) if through is None or one.revision <= through]
        return max(kept, default=None)

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._snapshots.setdefault(stream, []).append(snapshot)

    async def quarantine(self) -> KeptRecord:
        return self._quarantine

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        if version != self._quarantine.version:
            return None
        self._quarantine = KeptRecord(data, version + 1)
        return version + 1

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        self._check()
        return [event for event in self._streams.get(stream, []) if event.metadata.request_id in request_ids]

    async def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> Collection[str]:
        self._check()
        return {stream for stream, id in requests if await self.find_requests(stream, [id])}

    async def read_log(self, after: LogPosition, limit: int = 1000) -> LogSlice:
        self._check()
        self.reads += 1
        await asyncio.sleep(0)
        self._check()
        page = self._slice(after, limit)
        # The answer takes its time too, and the log continues in between.
        await asyncio.sleep(0)
        return page

    async def head(self) -> LogPosition:
        self._check()
        return self._head

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        self._check()
        before = after
        for event in self.events[bisect_right(self.events, after.position, key=_position) :]:
            if event.metadata.record_time >= time:
                return before
            before = event.place
        return self._head

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        self._check()
        history = self._streams.get(stream, [])
        return history[revision - 1].place if 0 < revision <= len(history) else None

    @property
    def confirmed_seconds_ago(self) -> float:
        return 0.0

    async def hides_events(self, stream: str) -> bool:
        return False

    async def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        self.subscriptions += 1
        try:
            while not self._closed:
                self._check()
                page = self._slice(after, 1000)
                after = page.through
                change = self._change
                yield page
                while page.caught_up and self._head == after and not self._down and not self._closed:
                    await change.wait()
                    change = self._change
        finally:
            self.subscriptions -= 1

    async def close(self) -> None:
        self._closed = True
        self._announce()

    def _slice(self, after: LogPosition, limit: int) -> LogSlice:
        start = bisect_right(self.events, after.position, key=_position)
        end = min(start + limit, len(self.events))
        while end < len(self.events) and self.events[end - 1].metadata.part + 1 < self.events[end - 1].metadata.parts:
            end += 1
        if end == len(self.events):
            return LogSlice(self.events[start:], max(after, self._head), caught_up=True)
        return LogSlice(self.events[start:end], self.events[end - 1].place)

    def _check(self) -> None:
        if self._down or self._closed:
            raise StoreUnavailable("the store is away")

    def _announce(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


def new_events(
    how_many: int = 1,
    type: str = "openbank.accounts.v1.MoneyDeposited",
    owner: str = "ann",
    time: int = 1_700_000_000_000_000,
    size: int = 16,
) -> Sequence[NewEvent]:
    """The events of one command, each with an id and data of its own."""
    numbers = [next(_ids) for _ in range(how_many)]
    return [
        NewEvent(
            id=number.to_bytes(16),
            type=type,
            data=number.to_bytes(8).rjust(size, b"."),
            metadata=Metadata(time + number, owner_id=owner, part=part, parts=how_many),
        )
        for part, number in enumerate(numbers)
    ]


def _position(event: RecordedEvent) -> int:
    return event.position

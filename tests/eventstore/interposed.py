"""A store between the bank and the real one, whose appends a test can hold back, make fail, or let another overtake."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import (
    BEGINNING,
    NO_STREAM,
    EventStore,
    KeptRecord,
    LogPosition,
    LogSlice,
    Newest,
    NewEvent,
    RecordedEvent,
    Snapshot,
)


class Asked(NamedTuple):
    """An append that the bank asked for."""

    stream: str
    expected_revision: int
    events: Sequence[NewEvent]


class _Failure(NamedTuple):
    error: Exception
    made: bool


class InterposedStore:
    def __init__(self, store: EventStore, sole_writer: bool = True) -> None:
        self.bank_id = store.bank_id
        self.store_id = store.store_id
        self.sole_writer = sole_writer
        self.writable = True
        self.after_loss = store.after_loss
        self.asked: list[Asked] = []
        self.found: list[Sequence[bytes]] = []
        """Request ids that were looked for, one entry a call."""
        self._store = store
        self._gate = asyncio.Event()
        self._gate.set()
        self._read_gate = asyncio.Event()
        self._read_gate.set()
        self._held_from = 0
        self._change = asyncio.Event()
        self._failures: deque[_Failure] = deque()
        self._before: Callable[[], Awaitable[object]] | None = None
        self._death: tuple[int, bool, bool] | None = None
        self.dead = asyncio.Event()
        self.burial = asyncio.Event()
        """Ends what a silent death has left hanging."""

    def hold(self, at: int = 1) -> None:
        """Appends wait, undone, from the `at`th from now on."""
        self._held_from = len(self.asked) + at
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def hold_reads(self) -> None:
        """Reads of streams wait."""
        self._read_gate.clear()

    def release_reads(self) -> None:
        self._read_gate.set()

    def fail_next(self, error: Exception, made: bool = False) -> None:
        """One append more will raise `error`, after it was made or without."""
        self._failures.append(_Failure(error, made))

    def before_next(self, action: Callable[[], Awaitable[object]]) -> None:
        """What happens between the next append's being asked for and its being made."""
        self._before = action

    def die(self, at: int, made: bool, silently: bool) -> None:
        """At the `at`th append from now on, which may still be made: everything fails, or is never answered."""
        self._death = (len(self.asked) + at, made, silently)

    async def asked_for(self, appends: int) -> None:
        """Until so many appends have been asked for in all."""
        while len(self.asked) < appends:
            self._change.clear()
            await self._change.wait()

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        self.asked.append(Asked(stream, expected_revision, events))
        number = len(self.asked)
        self._change.set()
        await self._live()
        if number >= self._held_from:
            await self._gate.wait()
        if self._before is not None:
            action, self._before = self._before, None
            await action()
        if self._death and number == self._death[0]:
            if self._death[1]:
                await self._store.append(stream, expected_revision, events)
            self.dead.set()
            await self._live()
        failure = self._failures.popleft() if self._failures else None
        if failure and not failure.made:
            raise failure.error
        position = await self._store.append(stream, expected_revision, events)
        if failure:
            raise failure.error
        return position

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = 1000) -> Sequence[RecordedEvent]:
        await self._live()
        await self._read_gate.wait()
        return await self._store.read_stream(stream, after, limit)

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        await self._live()
        await self._read_gate.wait()
        return await self._store.read_end(stream, limit)

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        await self._live()
        await self._read_gate.wait()
        return await self._store.read_newest(stream, limit, through)

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        await self._live()
        return await self._store.snapshot(stream, through)

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._store.keep_snapshot(stream, snapshot)

    async def quarantine(self) -> KeptRecord:
        return await self._store.quarantine()

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        return await self._store.save_quarantine(data, version)

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        await self._live()
        self.found.append(request_ids)
        return await self._store.find_requests(stream, request_ids, through)

    async def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> Collection[str]:
        await self._live()
        return await self._store.streams_with(requests)

    async def read_log(self, after: LogPosition, limit: int = 1000) -> LogSlice:
        await self._live()
        return await self._store.read_log(after, limit)

    async def head(self) -> LogPosition:
        await self._live()
        return await self._store.head()

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        await self._live()
        return await self._store.position_at(time, after)

    @property
    def confirmed_seconds_ago(self) -> float:
        return self._store.confirmed_seconds_ago

    async def hides_events(self, stream: str) -> bool:
        return await self._store.hides_events(stream)

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        await self._live()
        return await self._store.locate(stream, revision)

    def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        return self._store.subscribe(after)

    async def close(self) -> None:
        await self._store.close()

    async def _live(self) -> None:
        if self.dead.is_set() and self._death:
            if self._death[2]:
                await self.burial.wait()
            raise StoreUnavailable("died")

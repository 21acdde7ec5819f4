"""Group commit: appends that arrive while a commit is being synced share the next one, so that one sync serves all.

Events that are committed and not yet synced are neither acknowledged nor shown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.sqlite.wal import Wal
from openbank.eventstore.sqlite.writer import Append, Locked, Outcome, Writer, WrittenAppend
from openbank.eventstore.statistics import CommitStatistics
from openbank.instruments import SIZES, Histogram
from openbank.pause import Pause

BATCH_EVENTS_MAX = 2_000
"""The most events in one commit."""
GATHER_APPENDS_MAX = 32
GATHER_SECONDS_MAX = 0.01
"""How long a commit waits for as many appends as the previous one had, and the most that it waits for. With many
callers, some are answered and call again while the commit of the others is being synced."""
LOCK_SECONDS_MAX = 1.0
"""How long a commit waits for another process that has the write lock."""
LOCK_RETRY_SECONDS = 0.005
CHECKPOINT_EVENTS = 2_000
"""Events between two checkpoints."""


class Commits:
    """The queue of appends, and the task that commits them while there are any."""

    def __init__(self, writer: Writer, wal: Wal, committed: Callable[[Sequence[RecordedEvent]], None]) -> None:
        """`committed` is called with the events of each commit, once they are durable."""
        self._writer = writer
        self._wal = wal
        self._committed = committed
        self.head = writer.last()
        """The last event that is durable."""
        self.failed = False
        """Whether a sync has failed: then nothing may be read or written any more."""
        self.writable = True
        self.statistics = CommitStatistics(Histogram(SIZES), Histogram(), wal.syncs)
        self._pending: deque[Append] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._gathering = Pause()
        self._company = 1
        """How many appends the last commit had."""
        self._checkpointing: asyncio.Task[bool] | None = None
        self._checkpointed = self.head.position

    def add(self, append: Append) -> None:
        """Queues an append, whose `done` gets its outcome."""
        self._pending.append(append)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_pending())
        elif len(self._pending) == self._company:
            self._gathering.end()

    async def sync(self) -> None:
        """Makes durable what was committed outside the queue. Raises OutcomeUnknown."""
        try:
            await self._wal.sync()
        except OSError as error:
            self.failed = True
            raise OutcomeUnknown(str(error)) from error

    async def close(self) -> None:
        """Waits for what is under way."""
        if self._committing is not None:
            await self._committing
        # The last commit may have begun one.
        if self._checkpointing is not None:
            await self._checkpointing

    async def _commit_pending(self) -> None:
        try:
            while self._pending:
                await self._gather()
                await self._commit(self._take())
                await self._checkpoint()
        finally:
            self._committing = None

    async def _commit(self, batch: Sequence[Append]) -> None:
        if self.failed:
            _settle(batch, [StoreUnavailable("the event store has failed") for _ in batch])
            return
        begin = perf_counter()
        outcomes = await self._write(batch)
        # Refusals, too, rest on durable events: commits are made one at a time, and each is synced before the next.
        if any(isinstance(outcome, WrittenAppend) and outcome.events for outcome in outcomes):
            try:
                await self._wal.sync()
            except OSError as error:
                self.failed = True
                outcomes = [OutcomeUnknown(str(error)) for _ in batch]
        self.writable = not any(isinstance(outcome, StoreUnavailable | OutcomeUnknown) for outcome in outcomes)
        events = [event for outcome in outcomes if isinstance(outcome, WrittenAppend) for event in outcome.events]
        if events:
            self.statistics.events.observe(len(events))
            self.statistics.seconds.observe(perf_counter() - begin)
            self.head = events[-1].place
        _settle(batch, outcomes)
        if events:
            self._committed(events)

    async def _write(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Commits without a sync. Waits for the write lock of another process without blocking the event loop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_SECONDS_MAX
        while True:
            try:
                return self._writer.commit(batch)
            except Locked as error:
                if loop.time() > deadline:
                    return [StoreUnavailable(str(error)) for _ in batch]
            await asyncio.sleep(LOCK_RETRY_SECONDS)

    async def _gather(self) -> None:
        """Waits a little for as many appends as the last commit had.

        Callers that were answered together call again together, one after another on this loop. A commit for the first
        alone would cost each of them a sync of its own. A lone caller never waits.
        """
        if len(self._pending) < self._company:
            await self._gathering.wait(GATHER_SECONDS_MAX)

    def _take(self) -> list[Append]:
        batch = [self._pending.popleft()]
        events = len(batch[0].events)
        while self._pending and events + len(self._pending[0].events) <= BATCH_EVENTS_MAX:
            batch.append(self._pending.popleft())
            events += len(batch[-1].events)
        self._company = min(len(batch), GATHER_APPENDS_MAX)
        return batch

    async def _checkpoint(self) -> None:
        """Checkpoints beside the commits. Commits wait only when the WAL should restart, for the little that is left to
        write."""
        if self._checkpointing is not None:
            if not self._checkpointing.done():
                return
            due, self._checkpointing = self._checkpointing.result(), None
            if due:
                await self._wal.checkpoint()
        elif self.head.position - self._checkpointed >= CHECKPOINT_EVENTS:
            self._checkpointed = self.head.position
            self._checkpointing = asyncio.create_task(self._wal.checkpoint())


def _settle(batch: Sequence[Append], outcomes: Sequence[Outcome]) -> None:
    for append, outcome in zip(batch, outcomes, strict=True):
        if append.done.cancelled():
            continue
        if isinstance(outcome, Exception):
            append.done.set_exception(outcome)
        else:
            append.done.set_result(outcome.position)

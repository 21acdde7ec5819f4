"""Readers that stay: confirmation, history, caught_up, then what comes.

A subscription reads the log and keeps no queue of its own, so a slow client costs no memory and misses nothing. That it
falls behind, which on the real server is a full queue, is something that tests ask for.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Literal

from esdbclient.protos.Grpc import streams_pb2

from tests.stand_ins.eventstoredb.filters import Wanted
from tests.stand_ins.eventstoredb.log import Log, Record, StreamDeleted, StreamNotFound

TURN = 500  # records passed before others get the loop

ReadResp = streams_pb2.ReadResp
How = Literal["fell_behind", "dropped"]


class ConsumerTooSlow(Exception):
    pass


@dataclass(slots=True)
class Behind:
    how: How
    seconds: float


class Subscription:
    stream: str

    def __init__(self, log: Log, *, live: bool) -> None:
        self.log = log
        self.live = live
        self.behind: Behind | None = None

    def next(self) -> Record | None:
        """The next record, or None if there is none now."""
        raise NotImplementedError

    def at_end(self) -> bool:
        """Whether None from `next` means that all of the history has been sent."""
        return True

    def answers(self, record: Record) -> Iterator[Record | ReadResp]:
        yield record

    async def run(self) -> AsyncIterator[Record | ReadResp]:
        yield ReadResp(confirmation=ReadResp.SubscriptionConfirmation(subscription_id=str(uuid.uuid4())))
        if self.live:
            yield ReadResp(caught_up=ReadResp.CaughtUp())
        passed = 0
        while True:
            if self.behind:
                await self._fall_behind(self.behind)
                yield ReadResp(fell_behind=ReadResp.FellBehind())
            if record := self.next():
                for answer in self.answers(record):
                    yield answer
                passed += 1
                if passed % TURN == 0:
                    await asyncio.sleep(0)
            elif not self.live and self.at_end():
                self.live = True
                yield ReadResp(caught_up=ReadResp.CaughtUp())
            else:
                await self.log.changed.wait()

    async def _fall_behind(self, behind: Behind) -> None:
        self.behind = None
        await asyncio.sleep(behind.seconds)
        if behind.how == "dropped":
            raise ConsumerTooSlow
        self.live = False


class StreamSubscription(Subscription):
    def __init__(self, log: Log, stream: str, after: int | None, *, live: bool) -> None:
        super().__init__(log, live=live)
        self.stream = stream
        self._ended = False
        self._following = self._length() if live else 0 if after is None else after + 1
        if log.tombstone_of(stream):
            raise StreamDeleted

    def next(self) -> Record | None:
        tombstone = self.log.tombstone_of(self.stream)
        if tombstone and not self.live:
            raise StreamDeleted
        if not self.live:
            try:
                self._following = max(self._following, self.log.first_readable(self.stream))
            except StreamNotFound:
                return None
        if self._following < self._length():
            self._following += 1
            return self.log.streams[self.stream].records[self._following - 1]
        if tombstone and self._ended:
            raise StreamDeleted
        self._ended = tombstone is not None
        return tombstone

    def at_end(self) -> bool:
        """A stream that is not there, or deleted, is waited for."""
        return self._length() > 0 and not self.log.is_soft_deleted(self.stream)

    def _length(self) -> int:
        stream = self.log.streams.get(self.stream)
        return len(stream.records) if stream else 0


class AllSubscription(Subscription):
    stream = "$all"

    def __init__(self, log: Log, after: int | None, wanted: Wanted, checkpoint_interval: int, *, live: bool) -> None:
        super().__init__(log, live=live)
        self._wanted = wanted
        self._interval = checkpoint_interval
        self._considered = 0
        if live:
            self._following = len(log.records)
        elif after is None:
            self._following = 0
        else:
            self._following = log.index_of(after)
            if self._following < len(log.records) and log.records[self._following].position == after:
                self._following += 1

    def next(self) -> Record | None:
        if self._following == len(self.log.records):
            return None
        self._following += 1
        return self.log.records[self._following - 1]

    def answers(self, record: Record) -> Iterator[Record | ReadResp]:
        """Checkpoints also when nothing matches, so that a reader of few events need not read the log again."""
        if self._wanted(record):
            yield record
        self._considered += 1
        if self._interval and self._considered % self._interval == 0:
            position = record.position
            yield ReadResp(checkpoint=ReadResp.Checkpoint(commit_position=position, prepare_position=position))


class Subscriptions:
    """Those running now."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._running: set[Subscription] = set()

    async def run(self, subscription: Subscription) -> AsyncIterator[Record | ReadResp]:
        self._running.add(subscription)
        try:
            async for answer in subscription.run():
                yield answer
        finally:
            self._running.discard(subscription)

    def send_behind(self, how: How = "fell_behind", *, prefix: str = "", seconds: float = 0.0) -> int:
        """How many it was: those of a stream, or "$all", with this prefix send nothing for a while, and then either
        say `fell_behind` and catch up, or break off, as a server of 23.10 does when a client is too slow."""
        chosen = [running for running in self._running if running.stream.startswith(prefix)]
        for subscription in chosen:
            subscription.behind = Behind(how, seconds)
        self._log.changed.set()
        return len(chosen)

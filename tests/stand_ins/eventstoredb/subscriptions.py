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
from tests.stand_ins.eventstoredb.modes import Modes

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

    def last_checkpoint(self) -> Iterator[ReadResp]:
        """What is sent when the end of the history is reached."""
        yield from ()

    def waiting(self) -> int:
        """How many events the client has not been given."""
        return 0

    async def run(self, modes: Modes) -> AsyncIterator[Record | ReadResp]:
        yield ReadResp(confirmation=ReadResp.SubscriptionConfirmation(subscription_id=str(uuid.uuid4())))
        if self.live:
            yield ReadResp(caught_up=ReadResp.CaughtUp())
        passed = 0
        while True:
            if self.behind:
                await self._fall_behind(self.behind)
                yield ReadResp(fell_behind=ReadResp.FellBehind())
            if self.live and modes.cuts(self.waiting()):
                raise ConsumerTooSlow
            if record := self.next():
                for answer in self.answers(record):
                    yield answer
                passed += 1
                if passed % TURN == 0:
                    await asyncio.sleep(0)
            elif not self.live and self.at_end():
                self.live = True
                for checkpoint in self.last_checkpoint():
                    yield checkpoint
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
        return self.log.length(self.stream)


class AllSubscription(Subscription):
    stream = "$all"

    def __init__(
        self,
        log: Log,
        after: int | None,
        wanted: Wanted,
        checkpoint_interval: int,
        *,
        live: bool,
        window: int = 0,
        ahead: bool = False,
    ) -> None:
        """A `checkpoint_interval` of 0 is none. `ahead` is a mode: see there."""
        super().__init__(log, live=live)
        self._wanted = wanted
        self._interval = checkpoint_interval
        self._window = window
        self._ahead = ahead
        self._considered = 0
        self._after = -1 if after is None else after
        """Exclusive, and perhaps past the end of the log: then what is written up to there is not sent."""
        if live:
            self._following = log.readable
        elif after is None:
            self._following = 0
        else:
            self._following = log.index_of(after)
        self._scavenges = log.scavenges
        self._last = log.records[self._following - 1].position if self._following else -1

    def next(self) -> Record | None:
        if self._scavenges != self.log.scavenges:
            self._scavenges, self._following = self.log.scavenges, self.log.index_after(self._last)
        while self._following < self.log.readable:
            self._following += 1
            record = self.log.records[self._following - 1]
            self._last = record.position
            if record.position > self._after:
                return record
        return None

    def waiting(self) -> int:
        return self.log.readable - self._following

    def answers(self, record: Record) -> Iterator[Record | ReadResp]:
        """Checkpoints also when nothing matches, so that a reader of few events need not read the log again."""
        if self._wanted(record):
            yield record
        self._considered += 1
        if self._interval and self._considered % self._interval == 0:
            at_end = self._ahead and not self.waiting()
            yield checkpoint_at(record.end if at_end else record.position)

    def last_checkpoint(self) -> Iterator[ReadResp]:
        if self._ahead and self._window and self._considered and self._considered % self._window == 0:
            yield checkpoint_at(self.log.records[self._following - 1].end)


def checkpoint_at(position: int) -> ReadResp:
    return ReadResp(checkpoint=ReadResp.Checkpoint(commit_position=position, prepare_position=position))


class Subscriptions:
    """Those running now."""

    def __init__(self, log: Log, modes: Modes) -> None:
        self._log = log
        self._modes = modes
        self._running: set[Subscription] = set()

    async def run(self, subscription: Subscription) -> AsyncIterator[Record | ReadResp]:
        self._running.add(subscription)
        try:
            async for answer in subscription.run(self._modes):
                yield answer
        finally:
            self._running.discard(subscription)

    def freeze(self, log: Log) -> None:
        """They continue in `log`, a copy of theirs, where nothing comes any more."""
        for subscription in self._running:
            subscription.log = log
        self._log.changed.set()
        self._log = log

    def send_behind(self, how: How = "fell_behind", *, prefix: str = "", seconds: float = 0.0) -> int:
        """How many it was: those of a stream, or "$all", with this prefix send nothing for a while, and then either
        say `fell_behind` and catch up, or break off, as a server of 23.10 does when a client is too slow."""
        chosen = [running for running in self._running if running.stream.startswith(prefix)]
        for subscription in chosen:
            subscription.behind = Behind(how, seconds)
        self._log.changed.set()
        return len(chosen)

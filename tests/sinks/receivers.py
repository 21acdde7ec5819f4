"""Sinks for tests: a transport whose answers the test sets, and what it received."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.transport import Accepted, SendResult

Judge = Callable[[Sequence[CloudEvent]], SendResult]


def revision(event: CloudEvent) -> int:
    return int(event.sequence)


def key(event: CloudEvent) -> tuple[str, int]:
    return event.partitionkey, revision(event)


class Receiver:
    """A `Transport` that takes everything unless `judge` says otherwise, in any order that lanes allow."""

    def __init__(self, events_max: int = 1, messages_max: int = 8) -> None:
        self.events_max = events_max
        self.messages_max = messages_max
        self.judge: Judge = lambda events: Accepted()
        self.tried: list[list[tuple[str, int]]] = []
        """Every message, accepted or not."""
        self.taken: list[CloudEvent] = []
        self.under_way = 0
        self.most_under_way = 0
        self.closed = False

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        assert 1 <= len(events) <= self.events_max
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        self.under_way -= 1
        self.tried.append([key(event) for event in events])
        answer = self.judge(events)
        if isinstance(answer, Accepted):
            self.taken += events
        return answer

    async def close(self) -> None:
        self.closed = True

    def revisions(self, stream: str) -> list[int]:
        """The revisions of an aggregate, in the order in which they were taken."""
        return [revision(event) for event in self.taken if event.partitionkey == stream]


def poison(*keys: tuple[str, int]) -> Callable[[Sequence[CloudEvent]], bool]:
    """Whether a message holds one of these events."""
    return lambda events: any(key(event) in keys for event in events)

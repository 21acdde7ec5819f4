"""Events on their way to one sink, in order for each aggregate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from openbank.domain.clock import Clock
from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.port import Parked
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult, Transport, send


class Outgoing(NamedTuple):
    stream: str
    revision: int
    event: CloudEvent


class Delivery:
    """A bounded number of events, sent in as many rounds as it takes.

    Each aggregate has its own lane, and as many lanes as the transport allows send at the same time. If a message holds
    many events, there is one lane for all. A lane stops at an event that has to be retried, and then the other lanes
    stop too.
    """

    def __init__(self, events: Iterable[Outgoing], transport: Transport, clock: Clock) -> None:
        self.refused: dict[str, Parked] = {}
        """The first event that the sink refuses, by aggregate. Later events of the aggregate are not sent."""
        self.accepted: dict[str, int] = {}
        """The last revision that the sink accepted, by aggregate."""
        self.latest: dict[str, Outgoing] = {}
        """The same as events, the latest last."""
        self.moved = False
        """Whether the last round delivered anything."""
        self.failing: dict[str, tuple[Outgoing, Later]] = {}
        """The single events that the last round failed on although the sink was reached, by aggregate."""
        self._transport = transport
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        for outgoing in events:
            key = outgoing.stream if transport.events_max == 1 else ""
            self._lanes.setdefault(key, _Lane(transport.events_max)).waiting.append(outgoing)
        self._obstacle: Later | None = None

    async def round(self) -> Later | None:
        """Sends what can be sent. Returns None once nothing is left; otherwise the obstacle, and when to try again."""
        self._obstacle, self.moved, self.failing = None, False, {}
        busy = [lane for lane in self._lanes.values() if lane.waiting]
        lanes = iter(busy)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(len(busy), self._transport.messages_max)):
                tasks.create_task(self._move(lanes))
        return self._obstacle

    async def _move(self, lanes: Iterator[_Lane]) -> None:
        """Sends the lanes that no other worker has begun, one after another."""
        for lane in lanes:
            while lane.waiting and self._obstacle is None:
                await self._send(lane)
            if self._obstacle is not None:
                return

    def waiting(self) -> Iterator[Outgoing]:
        """What is still to be sent; of each aggregate in order."""
        for lane in self._lanes.values():
            yield from lane.waiting

    async def try_one(self, outgoing: Outgoing) -> SendResult:
        """Sends a single event: the first waiting one of its aggregate, or one that is not in this delivery."""
        answer = await send(self._transport, [outgoing.event])
        for lane in self._lanes.values():
            if isinstance(answer, Accepted) and outgoing in lane.waiting:
                lane.waiting.remove(outgoing)
                self._took([outgoing])
        return answer

    def park(self, outgoing: Outgoing, reason: str) -> None:
        """Leaves out this event and the later ones of its aggregate."""
        self.refused[outgoing.stream] = Parked(outgoing.revision, reason, self._clock())
        for lane in self._lanes.values():
            lane.drop(outgoing.stream)

    async def _send(self, lane: _Lane) -> None:
        message = lane.next()
        match await send(self._transport, [outgoing.event for outgoing in message]):
            case Accepted():
                lane.accepted(len(message))
                self.moved = True
                self._took(message)
            case Rejected(reason) if len(message) == 1:
                self.park(message[0], reason)
                self.moved = True
            case Rejected():
                lane.halve(len(message))
            case Later() as later:
                self._note(lane, message, later)

    def _took(self, message: Sequence[Outgoing]) -> None:
        for outgoing in message:
            self.accepted[outgoing.stream] = outgoing.revision
            self.latest.pop(outgoing.stream, None)
            self.latest[outgoing.stream] = outgoing

    def _note(self, lane: _Lane, message: Sequence[Outgoing], later: Later) -> None:
        # Of several, the one that asks for the longest pause.
        if self._obstacle is None or later.after_seconds > self._obstacle.after_seconds:
            self._obstacle = later
        if later.reached and len(message) == 1:
            self.failing[message[0].stream] = (message[0], later)
        elif later.reached:
            # Perhaps only one of them is refused.
            lane.halve(len(message))


class _Lane:
    """Events that are sent in order. A refused message is split in half until a single event is left."""

    def __init__(self, events_max: int) -> None:
        self.waiting: deque[Outgoing] = deque()
        self._events_max = events_max
        self._limit = events_max

    def next(self) -> list[Outgoing]:
        return [self.waiting[index] for index in range(min(self._limit, len(self.waiting)))]

    def accepted(self, count: int) -> None:
        for _ in range(count):
            self.waiting.popleft()
        self._limit = min(2 * self._limit, self._events_max)

    def halve(self, count: int) -> None:
        self._limit = count // 2

    def drop(self, stream: str) -> None:
        self.waiting = deque(outgoing for outgoing in self.waiting if outgoing.stream != stream)

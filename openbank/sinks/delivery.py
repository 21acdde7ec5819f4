"""Events on their way to one sink: in order for each aggregate, whatever the sink makes of any of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from openbank.domain.clock import Clock
from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.port import Parked
from openbank.sinks.transport import Accepted, Later, Refused, Transport, send


class Outgoing(NamedTuple):
    stream: str
    revision: int
    event: CloudEvent


class Delivery:
    """A bounded number of events, sent in as many rounds as it takes.

    Each aggregate has a lane of its own, and as many lanes as the transport allows move at one time; where a message
    holds many events, there is one lane for all. A lane stops at what it is to try again, and then so do the others.
    """

    def __init__(self, events: Iterable[Outgoing], transport: Transport, clock: Clock) -> None:
        self.refused: dict[str, Parked] = {}
        """The first event that the sink will not take, by aggregate; those behind it are not sent."""
        self.accepted: dict[str, int] = {}
        """The last revision that the sink took, by aggregate."""
        self.moved = False
        """Whether the last round has come any further."""
        self._transport = transport
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        for outgoing in events:
            key = outgoing.stream if transport.events_max == 1 else ""
            self._lanes.setdefault(key, _Lane(transport.events_max)).waiting.append(outgoing)
        self._obstacle: Later | None = None

    async def round(self) -> Later | None:
        """Sends what can be sent. None once nothing is left; else why not, and when to go on."""
        self._obstacle, self.moved = None, False
        busy = [lane for lane in self._lanes.values() if lane.waiting]
        lanes = iter(busy)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(len(busy), self._transport.messages_max)):
                tasks.create_task(self._move(lanes))
        return self._obstacle

    async def _move(self, lanes: Iterator[_Lane]) -> None:
        """One lane after the other, of those that nobody else has begun."""
        for lane in lanes:
            while lane.waiting and self._obstacle is None:
                await self._send(lane)
            if self._obstacle is not None:
                return

    async def _send(self, lane: _Lane) -> None:
        message = lane.next()
        match await send(self._transport, [outgoing.event for outgoing in message]):
            case Accepted():
                lane.accepted(len(message))
                self.moved = True
                self.accepted.update((stream, revision) for stream, revision, _ in message)
            case Refused(reason) if len(message) == 1:
                stream, revision, _ = message[0]
                self.refused[stream] = Parked(revision, reason, self._clock())
                lane.drop(lambda outgoing: outgoing.stream == stream)
                self.moved = True
            case Refused():
                lane.halve(len(message))
            case Later() as later:
                # Of several, the one that asks for the longest pause.
                if self._obstacle is None or later.after_seconds > self._obstacle.after_seconds:
                    self._obstacle = later


class _Lane:
    """Events that follow one another. A message that was refused is cut in half, until one event is left to blame."""

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

    def drop(self, unwanted: Callable[[Outgoing], bool]) -> None:
        self.waiting = deque(outgoing for outgoing in self.waiting if not unwanted(outgoing))

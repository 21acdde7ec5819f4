"""Finds the events that a sink has failed on for too long, and whether the cause is the event or the sink.

A sink that is down fails on every event, and then nothing must be parked. So after its time is over, an event is parked
only if the sink accepts an event of another aggregate, and right after that fails on this one again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from openbank.sinks.delivery import Delivery, Outgoing
from openbank.sinks.transport import Accepted, Later, SendResult


class Overdue:
    def __init__(self, park_after_seconds: float | None, now: Callable[[], float]) -> None:
        """None: no event is ever overdue. `now` is a monotonic clock, in seconds."""
        self._seconds = park_after_seconds
        self._now = now
        self._since: dict[tuple[str, int], float] = {}
        self._latest: dict[str, Outgoing] = {}
        """The last events that the sink accepted of two aggregates."""

    @property
    def streams(self) -> set[str]:
        """The aggregates of all events that the sink currently fails on."""
        return {stream for stream, _ in self._since}

    def after_round(self, delivery: Delivery, later: Later | None) -> Outgoing | None:
        """An event that has failed for too long. A round that did not reach the sink restarts all times."""
        self._latest = dict([*{**self._latest, **delivery.latest}.items()][-2:])
        if self._seconds is None or later is None or not later.reached:
            self._since = {}
            return None
        waiting = {(outgoing.stream, outgoing.revision): outgoing for outgoing in delivery.waiting()}
        failing = [(event.stream, event.revision) for event, _ in delivery.failing.values()]
        since = {key: self._since[key] for key in self._since if key in waiting}
        self._since = {**dict.fromkeys(failing, self._now()), **since}
        for key in failing:
            if self._now() - self._since[key] >= self._seconds:
                return waiting.get(key)
        return None

    def accepted(self, stream: str) -> Outgoing | None:
        """The last event of another aggregate that the sink accepted. It can be sent again, like any event."""
        others = [outgoing for outgoing in self._latest.values() if outgoing.stream != stream]
        return others[-1] if others else None

    def reason(self, delivery: Delivery, overdue: Outgoing) -> str:
        """Why it is parked."""
        _, later = delivery.failing[overdue.stream]
        return f"{later.reason}, for {self._seconds:g} s, while other events are accepted"


async def is_to_blame(delivery: Delivery, outgoing: Outgoing, others: Iterable[Outgoing]) -> bool:
    """Whether the sink accepts one of the other aggregates' events, and fails on this one again."""
    for other in others:
        if isinstance(await delivery.try_one(other), Accepted):
            answer: SendResult = await delivery.try_one(outgoing)
            return isinstance(answer, Later) and answer.reached
    return False

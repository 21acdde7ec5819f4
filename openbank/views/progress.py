"""How far views have come with the log, how fast they advance, and when they will be there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from openbank.eventstore.port import LogPosition
from openbank.views.port import Views

SAMPLE_SECONDS = 0.25
WINDOW_SECONDS = 10.0
"""The rate is that of the last samples within it."""
RATE_SECONDS_MIN = 1.0
"""Before that nothing is said of the rate: the first batch is not like the others."""
SAY_SECONDS = 5.0
"""Between two lines in the log; the first comes with the first rate."""

_log = logging.getLogger(__name__)


class Rate:
    """How fast a position moves, over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        """Times and positions."""

    def sample(self, now: float, position: int) -> None:
        """Begins again where the position has moved back."""
        if self._samples and position < self._samples[-1][1]:
            self.clear()
        self._samples.append((now, position))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()

    def clear(self) -> None:
        self._samples.clear()

    @property
    def is_new(self) -> bool:
        """Whether there is one sample at most."""
        return len(self._samples) <= 1

    def per_second(self) -> float | None:
        """In positions; None where it is not known yet, or nothing moves."""
        if not self._samples:
            return None
        (first, start), (last, end) = self._samples[0], self._samples[-1]
        return (end - start) / (last - first) if last - first >= RATE_SECONDS_MIN and end > start else None


def figures(position: int, of: int, per_second: float | None) -> dict[str, object]:
    """What a line of the log says about views on their way."""
    values: dict[str, object] = {"position": position, "of": of, "percent": 100 * position // max(of, 1)}
    if per_second is not None:
        values |= {"per_second": round(per_second), "seconds_left": round((of - position) / per_second)}
    return values


class Progress:
    """Watches views until they have caught up with the log as of the start, whichever instance projects.

    Positions are those of the store: events in the embedded one, bytes of its log in EventStoreDB.
    """

    def __init__(self, views: Views, start_head: LogPosition, now: Callable[[], float] = time.monotonic) -> None:
        self._views = views
        self._goal = start_head.position
        self._now = now
        self._rate = Rate()
        """Since the views are behind."""
        self._began = 0.0
        self._said: float | None = None
        """When the log was last told, of views that are behind."""

    @property
    def caught_up(self) -> bool:
        return self._views.place.position >= self._goal

    @property
    def ratio(self) -> float:
        """How much of the log the views have, of what they had to catch up with, from 0 to 1."""
        return 1.0 if self.caught_up else self._views.place.position / self._goal

    def seconds_to(self, position: int) -> float | None:
        """How long the views will take to reach `position`; None where that is unknown, or not worth asking."""
        rate = self._rate.per_second()
        return None if self.caught_up or rate is None else (position - self._views.place.position) / rate

    async def run(self) -> None:
        """Until cancelled. Views may fall behind again: another instance may rebuild them."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        now, position = self._now(), self._views.place.position
        if self.caught_up:
            self._goal = position
            self._say_caught_up(now)
            self._rate.clear()
            return
        self._rate.sample(now, position)
        if self._rate.is_new:
            self._began = now
        self._say_behind(now, position)

    def _say_behind(self, now: float, position: int) -> None:
        last = self._began + RATE_SECONDS_MIN - SAY_SECONDS if self._said is None else self._said
        if now < last + SAY_SECONDS:
            return
        self._said = now
        values = figures(position, self._goal, self._rate.per_second())
        _log.info("views catch up", extra={"values": values})

    def _say_caught_up(self, now: float) -> None:
        if self._said is not None:
            values = {"position": self._goal, "seconds": round(now - self._began)}
            _log.info("views have caught up", extra={"values": values})
        self._said = None

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


class Progress:
    """Watches views until they have caught up with the log as of the start, whichever instance projects.

    Positions are those of the store: events in the embedded one, bytes of its log in EventStoreDB.
    """

    def __init__(self, views: Views, start_head: LogPosition, now: Callable[[], float] = time.monotonic) -> None:
        self._views = views
        self._goal = start_head.position
        self._now = now
        self._samples: deque[tuple[float, int]] = deque()
        """Times and positions since the views are behind; empty while they are not."""
        self._began = 0.0
        self._said: float | None = None
        """When the log was last told, of views that are behind."""

    @property
    def caught_up(self) -> bool:
        return self._views.position.position >= self._goal

    @property
    def ratio(self) -> float:
        """How much of the log the views have, of what they had to catch up with, from 0 to 1."""
        return 1.0 if self.caught_up else self._views.position.position / self._goal

    def seconds_to(self, position: int) -> float | None:
        """How long the views will take to reach `position`; None where that is unknown, or not worth asking."""
        rate = self._rate()
        return None if self.caught_up or rate is None else (position - self._views.position.position) / rate

    async def run(self) -> None:
        """Until cancelled. Views may fall behind again: another instance may rebuild them."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        now, position = self._now(), self._views.position.position
        if self.caught_up:
            self._goal = position
            self._say_caught_up(now)
            self._samples.clear()
            return
        if not self._samples or position < self._samples[-1][1]:
            self._samples.clear()
            self._began = now
        self._samples.append((now, position))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()
        self._say_behind(now, position)

    def _rate(self) -> float | None:
        """In positions a second."""
        if not self._samples:
            return None
        (first, start), (last, end) = self._samples[0], self._samples[-1]
        return (end - start) / (last - first) if last - first >= RATE_SECONDS_MIN and end > start else None

    def _say_behind(self, now: float, position: int) -> None:
        last = self._began + RATE_SECONDS_MIN - SAY_SECONDS if self._said is None else self._said
        if now < last + SAY_SECONDS:
            return
        self._said = now
        values = {"position": position, "of": self._goal, "percent": 100 * position // self._goal}
        rate = self._rate()
        if rate is not None:
            values |= {"per_second": round(rate), "seconds_left": round((self._goal - position) / rate)}
        _log.info("views catch up", extra={"values": values})

    def _say_caught_up(self, now: float) -> None:
        if self._said is not None:
            values = {"position": self._goal, "seconds": round(now - self._began)}
            _log.info("views have caught up", extra={"values": values})
        self._said = None

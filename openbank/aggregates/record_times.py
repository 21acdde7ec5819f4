"""Record times, which never run backwards in one aggregate, whatever the clocks of the bank's instances say."""

from __future__ import annotations

import logging
from time import monotonic

from openbank.domain.clock import Clock

SKEW_MICROSECONDS_MAX = 1_000_000
"""How far a clock may be behind another instance's before a warning says so."""
WARN_SECONDS = 60.0
"""The time between two warnings."""

_log = logging.getLogger(__name__)


class RecordTimes:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned_at: float | None = None

    def after(self, last: int) -> int:
        """The record time of an event that follows one recorded at `last`: now, or `last` where the clock is behind."""
        now = self._clock()
        if now >= last:
            return now
        if last - now > SKEW_MICROSECONDS_MAX:
            self._warn(last - now)
        return last

    def _warn(self, behind: int) -> None:
        if self._warned_at is None or monotonic() - self._warned_at >= WARN_SECONDS:
            self._warned_at = monotonic()
            _log.warning("clock is behind the last event's record time", extra={"values": {"seconds": behind / 1e6}})

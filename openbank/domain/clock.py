"""Time as the bank keeps it: whole microseconds since 1970, UTC."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

Clock = Callable[[], int]
"""Microseconds since 1970, UTC. Injected wherever the bank asks what time it is."""


def system_clock() -> int:
    return time.time_ns() // 1_000


def day_of(microseconds: int) -> date:
    """The day in UTC."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).date()

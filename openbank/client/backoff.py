"""How long a client waits before it tries again."""

from __future__ import annotations

import random

from openbank.client.errors import BankError


def pause_seconds(failures: int, seconds_min: float, seconds_max: float, decision: BankError | None) -> float:
    """The pause after this many failures in a row: longer each time, and no shorter than the bank asks for.

    Half of it is random, so that clients that fail together do not come back together.
    """
    longest = min(seconds_max, seconds_min * 2 ** min(failures, 32))
    asked = decision.retry_seconds if decision else None
    return max(random.uniform(longest / 2, longest), asked or 0.0)

"""What governs an account, as views keep it: without the holds, and the day's spending, which only commands need."""

from __future__ import annotations

import json

from openbank.domain.controls import NO_LIMITS, PLAIN, AccountState, Controls, SpendingLimits


def seen_controls(
    balance: int,
    available: int,
    state: AccountState,
    freeze_reason: str,
    close_time: int | None,
    overdraft_limit: int,
    spending: SpendingLimits | None,
) -> Controls:
    """Amounts are in minor units. What is held follows from the other amounts."""
    held = balance + overdraft_limit - available
    controls = Controls(state, freeze_reason, close_time, overdraft_limit, spending, held=held)
    return PLAIN if controls == PLAIN else controls


def limits_text(limits: SpendingLimits | None) -> str:
    """Empty for no limits."""
    if limits is None or limits == NO_LIMITS:
        return ""
    return json.dumps([limits.per_transaction, limits.per_day, limits.time_zone])


def limits_of(text: str) -> SpendingLimits | None:
    """The inverse of `limits_text`."""
    return SpendingLimits(*json.loads(text)) if text else None

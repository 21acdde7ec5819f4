"""How far an account may be overdrawn, and how much may be spent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openbank.domain.account import Account, open_for_change
from openbank.domain.account_events import OverdraftLimitSet, SpendingLimitsSet
from openbank.domain.amounts import negative, not_positive, own_limit
from openbank.domain.controls import SpendingLimits, Spent
from openbank.domain.errors import InvalidFields, SpendingLimitExceeded
from openbank.domain.money import Money


@dataclass(frozen=True, slots=True)
class SetOverdraftLimit:
    account_id: str
    limit: Money


@dataclass(frozen=True, slots=True)
class SetSpendingLimits:
    account_id: str
    per_transaction: Money | None
    """None for no limit."""
    per_day: Money | None
    time_zone: str
    """A name of the IANA database; empty is UTC."""


def set_overdraft_limit(account: Account | None, command: SetOverdraftLimit) -> OverdraftLimitSet:
    """A limit below what is used is allowed: nothing can be spent then, and credits are taken.

    Raises AccountNotFound, AccountNotActive for a closed account, InvalidFields.
    """
    account = open_for_change(account, command.account_id)
    if command.limit.minor < 0:
        raise InvalidFields([negative("limit", command.limit)])
    limit = own_limit(command.limit, account.currency, "limit")
    old = account.money(account.controls.overdraft_limit)
    available = account.money(account.available.minor + limit.minor - old.minor)
    return OverdraftLimitSet(limit, old, account.balance, available)


def set_spending_limits(account: Account | None, command: SetSpendingLimits) -> SpendingLimitsSet:
    """Counting begins with the first limit per day. What was spent that day under an earlier one counts.

    Raises AccountNotFound, AccountNotActive for a closed account, InvalidFields.
    """
    account = open_for_change(account, command.account_id)
    per_transaction = _limit(account, command.per_transaction, "per_transaction")
    per_day = _limit(account, command.per_day, "per_day")
    limits = None
    if per_transaction is not None or per_day is not None:
        limits = SpendingLimits(per_transaction, per_day, command.time_zone or "UTC")
    return SpendingLimitsSet(account.balance, account.available, limits)


def spend(account: Account, amount: Money, now: int) -> Spent | None:
    """The day's total with `amount`; None where there is no limit per day. `now` is in microseconds since 1970 UTC.

    The day never goes back, so that a clock that was set back grants nothing. Raises SpendingLimitExceeded.
    """
    limits, before = account.controls.spending, account.controls.spent
    if limits is None:
        return None
    if limits.per_transaction is not None and amount.minor > limits.per_transaction:
        raise SpendingLimitExceeded(account.account_id, account.money(limits.per_transaction), account.money(0), amount)
    if limits.per_day is None:
        return None
    zone = _zone(limits.time_zone)
    today = datetime.fromtimestamp(now // 1_000_000, zone).date()
    day = max(today, before.day) if before else today
    spent = before.minor if before and before.day == day else 0
    if spent + amount.minor > limits.per_day:
        limit = account.money(limits.per_day)
        raise SpendingLimitExceeded(account.account_id, limit, account.money(spent), amount, _end_of(day, zone))
    return Spent(day, spent + amount.minor)


def _zone(name: str) -> tzinfo:
    """UTC for a zone that was set where the time-zone data is newer than here: an account must not be stuck for it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _end_of(day: date, zone: tzinfo) -> datetime:
    """The first midnight after `day` in `zone`, in UTC."""
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)


def _limit(account: Account, limit: Money | None, field: str) -> int | None:
    if limit is None:
        return None
    if limit.minor <= 0:
        raise InvalidFields([not_positive(field, limit)])
    return own_limit(limit, account.currency, field).minor

"""What the model knows of a person and of an account, and what an account lets happen."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from openbank.accounts.v1 import account_pb2 as account_messages
from tests.model.fields import Amount, Refused, check, show

BALANCE_MAX = 2**53 - 1
ACTIVE, FROZEN, CLOSED = "ACTIVE", "FROZEN", "CLOSED"
DEBITS_FROZEN, CREDITS_FROZEN = "DEBITS_FROZEN", "CREDITS_FROZEN"
STATES = {
    name: account_messages.AccountState.Value(f"ACCOUNT_STATE_{name}")
    for name in (
        ACTIVE,
        FROZEN,
        CLOSED,
        DEBITS_FROZEN,
        CREDITS_FROZEN,
    )
}
TIME_ZONES = ("Pacific/Auckland", "America/New_York", "Asia/Kathmandu")


class Done(NamedTuple):
    """One request that was done, and what it was answered."""

    fingerprint: Hashable
    answer: Any


@dataclass
class Person:
    first_name: str
    city: str
    revision: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    """By request id."""

    def record(self, _: str) -> None:
        self.revision += 1


class Event(NamedTuple):
    """An event of an account, by its id, and what it left."""

    id: str
    balance: int
    available: int


@dataclass
class Hold:
    id: str
    amount: int
    remaining: int
    expire_time: int
    description: str
    captured: int = 0
    state: str = "OPEN"


@dataclass
class Movement:
    """Zero where it is never reversed; above it for what was paid in, below it for what was paid out."""

    minor: int = 0
    reversed: bool = False


@dataclass
class Account:
    owner_id: str
    number: str
    currency: str
    balance: int
    revision: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    state: str = ACTIVE
    freeze_reason: str = ""
    close_time: int | None = None
    overdraft_limit: int = 0
    per_transaction: int | None = None
    per_day: int | None = None
    time_zone: str = ""
    spent: tuple[date, int] = date.min, 0
    """On the last day on which something was spent under a limit per day."""
    holds: dict[str, Hold] = field(default_factory=dict)
    movements: dict[int, Movement] = field(default_factory=dict)
    """By revision."""
    happens: Movement | None = None
    """What the event that is recorded next moves."""

    @property
    def held(self) -> int:
        return sum(hold.remaining for hold in self.holds.values())

    @property
    def available(self) -> int:
        return self.balance + self.overdraft_limit - self.held

    def open_hold(self, hold_id: str) -> Hold:
        if hold_id not in self.holds:
            raise Refused("NOT_FOUND", "HOLD_NOT_FOUND")
        if self.holds[hold_id].state != "OPEN":
            raise Refused("FAILED_PRECONDITION", "HOLD_NOT_OPEN")
        return self.holds[hold_id]

    def taken(self, hold_id: str, paid: Amount) -> tuple[Hold, int]:
        """What a capture takes out of a hold: all that remains if it names no amount."""
        hold = self.open_hold(hold_id)
        minor = hold.remaining if paid is None else self._own("amount", paid)
        if minor > hold.remaining:
            raise Refused("FAILED_PRECONDITION", "CAPTURE_EXCEEDS_HOLD")
        return hold, minor

    def unless_closed(self) -> Account:
        if self.state == CLOSED:
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")
        return self

    def credit(self, paid: Amount) -> int:
        """What is paid in, in smallest units."""
        self.may_credit()
        return self._own("amount", paid)

    def may_credit(self) -> None:
        if self.state not in (ACTIVE, DEBITS_FROZEN):
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")

    def has_room(self, minor: int) -> None:
        if self.balance + minor > BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")

    def give_back(self, minor: int, *, overdraw: bool) -> None:
        """A debit that need not be there if the account may be overdrawn, and that counts towards no limit."""
        if minor > self.available and not overdraw:
            raise Refused("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
        if self.balance - minor < -BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")
        self.balance -= minor

    def may_debit(self) -> None:
        if self.state not in (ACTIVE, CREDITS_FROZEN):
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")

    def spend(self, paid: Amount, now: int) -> int:
        """A debit that must be there, and that counts towards the limits."""
        self.may_debit()
        minor = self._own("amount", paid)
        if minor > self.available:
            raise Refused("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
        if self.per_transaction is not None and minor > self.per_transaction:
            raise Refused("FAILED_PRECONDITION", "SPENDING_LIMIT_EXCEEDED")
        if self.per_day is not None:
            day, spent = self.spent
            today = max(day, datetime.fromtimestamp(now // 10**6, ZoneInfo(self.time_zone)).date())
            total = minor + (spent if today == day else 0)
            if total > self.per_day:
                raise Refused("FAILED_PRECONDITION", "SPENDING_LIMIT_EXCEEDED")
            self.spent = today, total
        return minor

    def limit(self, path: str, limit: Amount) -> int | None:
        if limit is None:
            return None
        minor = self._own(path, limit)
        if minor > BALANCE_MAX:
            check({path: "AMOUNT_OUT_OF_RANGE"}, (path,))
        return minor

    def _own(self, path: str, paid: Amount) -> int:
        assert paid is not None
        currency, minor = paid
        if currency != self.currency:
            check({f"{path}.currency_code": "CURRENCY_MISMATCH"}, (path,))
        return minor

    def record(self, event_id: str) -> None:
        self.revision += 1
        self.events.append(Event(event_id, self.balance, self.available))
        happens, self.happens = (self.happens if self.revision > 1 else Movement()), None
        if happens:
            self.movements[self.revision] = happens


def same_account(answered: Any, made: Account) -> None:
    """Also what governs it."""

    def money(minor: int) -> Any:
        return show(made.currency, minor)

    assert (answered.balance, answered.available_balance) == (money(made.balance), money(made.available))
    assert (answered.state, answered.freeze_reason) == (STATES[made.state], made.freeze_reason)
    closed_at = answered.close_time.ToMicroseconds() if answered.HasField("close_time") else None
    assert closed_at == made.close_time
    shown = [answered.overdraft_limit, answered.held_balance]
    assert shown == [money(minor) if minor else type(answered.balance)() for minor in (made.overdraft_limit, made.held)]
    limits = account_messages.SpendingLimits()
    for name in ("per_transaction", "per_day"):
        if (limit := getattr(made, name)) is not None:
            getattr(limits, name).CopyFrom(money(limit))
            limits.time_zone = made.time_zone
    assert answered.spending_limits == limits

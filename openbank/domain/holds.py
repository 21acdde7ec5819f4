"""Holds: money that an authorisation keeps from being spent until it is captured, released, or expires."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from openbank.domain.account import Account, debitable, there
from openbank.domain.account_events import HoldCaptured, HoldExpired, HoldPlaced, HoldReleased
from openbank.domain.amounts import own_amount
from openbank.domain.controls import Hold
from openbank.domain.errors import (
    CaptureExceedsHold,
    HoldNotFound,
    HoldNotOpen,
    TooManyHolds,
)
from openbank.domain.limits import spend
from openbank.domain.money import Money
from openbank.domain.movements import spendable
from openbank.domain.tags import NO_TAGS, Tags

SECOND = 1_000_000
"""In microseconds, as all times here."""
DAY = 86_400 * SECOND
TTL_DEFAULT = 7 * DAY
TTL_MIN = SECOND
TTL_MAX = 366 * DAY

OPEN_MAX = 1_000
"""Open holds of one account: the fold and the snapshot of it stay bounded."""


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Ends at `expire_time` or `ttl` from now, in microseconds (since 1970 UTC); without either after TTL_DEFAULT."""

    account_id: str
    amount: Money
    description: str = ""
    expire_time: int | None = None
    ttl: int | None = None
    tags: Tags = NO_TAGS


@dataclass(frozen=True, slots=True)
class CaptureHold:
    account_id: str
    hold_id: str
    amount: Money | None
    """None for all that remains."""
    release_remainder: bool
    description: str
    tags: Tags = NO_TAGS


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    account_id: str
    hold_id: str
    description: str


def place(account: Account | None, command: PlaceHold, now: int) -> HoldPlaced:
    """`now` is in microseconds since 1970 UTC.

    Raises AccountNotFound, AccountNotActive, InvalidFields, TooManyHolds, SpendingLimitExceeded, InsufficientFunds.
    """
    account, amount = spendable(account, command.account_id, command.amount)
    if len(account.controls.holds) >= OPEN_MAX:
        raise TooManyHolds(account.account_id, OPEN_MAX)
    spent = spend(account, amount, now)
    hold_id = new_id(account.account_id, account.controls.holds_placed)
    ttl = TTL_DEFAULT if command.ttl is None else command.ttl
    ends = now + ttl if command.expire_time is None else command.expire_time
    funds = account.balance, account.available.minus(amount)
    return HoldPlaced(hold_id, amount, ends, command.description, *funds, spent, command.tags)


def capture(account: Account | None, command: CaptureHold) -> HoldCaptured:
    """Pays out of a hold. What is left stays held, unless it is to be released.

    Raises AccountNotFound, AccountNotActive, HoldNotFound, HoldNotOpen, InvalidFields, CaptureExceedsHold.
    """
    account = debitable(account, command.account_id)
    amount, remaining = taken(account, command.hold_id, command.amount)
    released = account.money(remaining.minor if command.release_remainder else 0)
    return HoldCaptured(
        command.hold_id,
        amount,
        released,
        remaining.minus(released),
        command.description,
        account.balance.minus(amount),
        account.available.plus(released),
        command.tags,
    )


def release(account: Account | None, command: ReleaseHold) -> HoldReleased:
    """Raises AccountNotFound, HoldNotFound, HoldNotOpen."""
    account = there(account, command.account_id)
    amount = account.money(find(account, command.hold_id).remaining)
    return HoldReleased(command.hold_id, amount, account.balance, account.available.plus(amount), command.description)


def taken(account: Account, hold_id: str, amount: Money | None) -> tuple[Money, Money]:
    """What a capture of `amount` takes out of a hold (all, for None), and what remains in it.

    Raises HoldNotFound, HoldNotOpen, InvalidFields, CaptureExceedsHold.
    """
    remaining = account.money(find(account, hold_id).remaining)
    if amount is None:
        return remaining, account.money(0)
    amount = own_amount(amount, account.currency)
    if amount.minor > remaining.minor:
        raise CaptureExceedsHold(hold_id, remaining, amount)
    return amount, remaining.minus(amount)


def due(account: Account, now: int) -> Iterator[HoldExpired]:
    """The end of every hold whose time has come, earliest first. `now` is in microseconds since 1970 UTC."""
    holds, available = account.controls.holds, account.available
    if holds.first_expiry is None or holds.first_expiry > now:
        return
    for _, hold_id in sorted((hold.expire_time, id) for id, hold in holds.items() if hold.expire_time <= now):
        amount = account.money(holds[hold_id].remaining)
        available = available.plus(amount)
        yield HoldExpired(hold_id, amount, account.balance, available)


def find(account: Account, hold_id: str) -> Hold:
    """Raises HoldNotOpen for one that this account has had, HoldNotFound for any other."""
    hold = account.controls.holds.get(hold_id)
    if hold is not None:
        return hold
    if _number(account.account_id, hold_id) < account.controls.holds_placed:
        raise HoldNotOpen(hold_id)
    raise HoldNotFound(hold_id)


def new_id(account_id: str, number: int) -> str:
    """The id of an account's hold `number`, from 0: a UUID of version 8 that ends with the number.

    So an account knows the ids of all its holds without remembering the closed ones.
    """
    made = bytearray(hashlib.blake2b(b"hold\0%b\0%d" % (account_id.encode(), number), digest_size=12).digest())
    made[6] = made[6] & 0x0F | 0x80
    made[8] = made[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(made) + number.to_bytes(4)))


def _number(account_id: str, hold_id: str) -> int:
    """Which of the account's holds has this id; more than any for an id of no hold of the account."""
    try:
        number = int.from_bytes(UUID(hold_id).bytes[12:])
    except ValueError:
        return 1 << 32
    return number if new_id(account_id, number) == hold_id else 1 << 32

"""A hold as callers see it, open or closed. What rules need of an open one is in `controls.Hold`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from openbank.domain.account_events import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    TransferSent,
)
from openbank.domain.money import Money
from openbank.domain.tags import NO_TAGS, Tags


class HoldState(Enum):
    OPEN = "OPEN"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class HoldRecord:
    hold_id: str
    account_id: str
    amount: Money
    """As it was placed."""
    remaining: Money
    released: Money
    """Given back when the hold was closed."""
    state: HoldState
    description: str
    expire_time: int
    """In microseconds since 1970 UTC."""
    tags: Tags = NO_TAGS

    @property
    def captured(self) -> Money:
        return self.amount.minus(self.remaining).minus(self.released)


class HoldChange(NamedTuple):
    """What an event leaves of a hold."""

    hold_id: str
    state: HoldState
    remaining: Money
    released: Money


def placed(account_id: str, event: HoldPlaced) -> HoldRecord:
    nothing = Money(event.amount.currency, 0)
    return HoldRecord(
        event.hold_id,
        account_id,
        event.amount,
        event.amount,
        nothing,
        HoldState.OPEN,
        event.description,
        event.expire_time,
        event.tags,
    )


def change_by(event: object) -> HoldChange | None:
    """What `event` leaves of an open hold; None for an event of no hold, and for the one that places it."""
    match event:
        case HoldCaptured():
            return _taken(event.hold_id, event.remaining_after, event.released)
        case TransferSent() if event.hold_remaining_after is not None:
            return _taken(event.hold_id, event.hold_remaining_after, Money(event.amount.currency, 0))
        case HoldReleased() | HoldExpired():
            state = HoldState.RELEASED if isinstance(event, HoldReleased) else HoldState.EXPIRED
            return HoldChange(event.hold_id, state, Money(event.amount.currency, 0), event.amount)
        case _:
            return None


def changed(hold: HoldRecord, change: HoldChange) -> HoldRecord:
    return replace(hold, state=change.state, remaining=change.remaining, released=change.released)


def _taken(hold_id: str, remaining: Money, released: Money) -> HoldChange:
    return HoldChange(hold_id, HoldState.OPEN if remaining.minor else HoldState.CAPTURED, remaining, released)

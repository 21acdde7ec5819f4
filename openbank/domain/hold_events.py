"""The events of holds, in the account's stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from openbank.domain.controls import Spent
from openbank.domain.money import Money
from openbank.domain.tags import NO_TAGS, Tags


@dataclass(frozen=True, slots=True)
class HoldPlaced:
    hold_id: str
    amount: Money
    expire_time: int
    """In microseconds since 1970 UTC."""
    description: str
    balance_after: Money
    available_after: Money
    spent: Spent | None = None
    tags: Tags = NO_TAGS
    spends: ClassVar[bool] = True
    moved: ClassVar[int] = 0

    @property
    def freed(self) -> int:
        return -self.amount.minor


@dataclass(frozen=True, slots=True)
class HoldCaptured:
    """`amount` of the hold is paid out, and `released` given back. The hold is closed when nothing remains."""

    hold_id: str
    amount: Money
    released: Money
    remaining_after: Money
    description: str
    balance_after: Money
    available_after: Money
    tags: Tags = NO_TAGS
    spends: ClassVar[bool] = False

    @property
    def moved(self) -> int:
        return -self.amount.minor

    @property
    def freed(self) -> int:
        return self.released.minor


@dataclass(frozen=True, slots=True)
class _HoldEnded:
    """All that remained of the hold, `amount`, may be spent again."""

    hold_id: str
    amount: Money
    balance_after: Money
    available_after: Money
    spends: ClassVar[bool] = False
    moved: ClassVar[int] = 0

    @property
    def freed(self) -> int:
        return self.amount.minor


@dataclass(frozen=True, slots=True)
class HoldReleased(_HoldEnded):
    description: str


@dataclass(frozen=True, slots=True)
class HoldExpired(_HoldEnded):
    pass

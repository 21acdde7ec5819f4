"""What account events do to the balances: what all of them state, and the kinds that several share.

Each event states the result, so that readers assign and a redelivery is harmless: `balance_after` is the posted
balance, `available_after` what may be spent. `moved` and `freed` are the changes of the two, in minor units. After an
event that `spends`, what may be spent is not below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from openbank.domain.money import Money


class Funds(NamedTuple):
    """An account's posted balance, and what may be spent: less by what is held, more by the overdraft limit."""

    balance: Money
    available: Money


@dataclass(frozen=True, slots=True)
class Credit:
    """`amount` is paid in, and may be spent."""

    amount: Money
    balance_after: Money
    available_after: Money
    spends: ClassVar[bool] = False

    @property
    def moved(self) -> int:
        return self.amount.minor

    @property
    def freed(self) -> int:
        return self.amount.minor


@dataclass(frozen=True, slots=True)
class Unmoved:
    """The balance stays, and so does what may be spent."""

    balance_after: Money
    available_after: Money
    spends: ClassVar[bool] = False
    moved: ClassVar[int] = 0
    freed: ClassVar[int] = 0

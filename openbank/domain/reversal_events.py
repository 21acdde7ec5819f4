"""The events of reversals, in the account's stream. A transfer that takes one back is a TransferSent."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.domain.event_effects import Credit
from openbank.domain.money import Money


@dataclass(frozen=True, slots=True)
class DepositReversed:
    """`amount`, all of a deposit, is taken back."""

    reversed_revision: int
    reversed_event_id: str
    amount: Money
    description: str
    balance_after: Money
    available_after: Money
    allow_overdraw: bool = False
    """Whether it may take more than there was to spend."""

    @property
    def spends(self) -> bool:
        return not self.allow_overdraw

    @property
    def moved(self) -> int:
        return -self.amount.minor

    @property
    def freed(self) -> int:
        return -self.amount.minor


@dataclass(frozen=True, slots=True)
class WithdrawalReversed(Credit):
    """`amount`, all of a withdrawal or a capture, is paid back. The hold is not restored."""

    reversed_revision: int
    reversed_event_id: str
    description: str

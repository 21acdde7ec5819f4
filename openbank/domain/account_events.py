"""The events of an account: those of the account and its money are here, those of holds, transfers
and reversals beside it.

`event_effects` says what each of them states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from openbank.domain.controls import AccountState, SpendingLimits, Spent
from openbank.domain.event_effects import Funds, Unmoved
from openbank.domain.hold_events import HoldCaptured, HoldExpired, HoldPlaced, HoldReleased
from openbank.domain.money import Money
from openbank.domain.reversal_events import DepositReversed, WithdrawalReversed
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.transfer_events import TransferReceived, TransferRefused, TransferReturned, TransferSent


@dataclass(frozen=True, slots=True)
class AccountOpened:
    account_id: str
    owner_id: str
    account_number: str
    initial_deposit: Money
    spends: ClassVar[bool] = False

    @property
    def balance_after(self) -> Money:
        return self.initial_deposit

    @property
    def available_after(self) -> Money:
        return self.initial_deposit

    @property
    def moved(self) -> int:
        return self.initial_deposit.minor

    @property
    def freed(self) -> int:
        return self.initial_deposit.minor


@dataclass(frozen=True, slots=True)
class MoneyDeposited:
    amount: Money
    description: str
    balance_after: Money
    available: Money | None = None
    """What may be spent after it; None where that is the balance, as it is without holds and an overdraft."""
    tags: Tags = NO_TAGS
    spends: ClassVar[bool] = False

    @property
    def available_after(self) -> Money:
        return self.available or self.balance_after

    @property
    def moved(self) -> int:
        return self.amount.minor

    @property
    def freed(self) -> int:
        return self.amount.minor


@dataclass(frozen=True, slots=True)
class MoneyWithdrawn:
    amount: Money
    description: str
    balance_after: Money
    available: Money | None = None
    """As that of a deposit."""
    spent: Spent | None = None
    """The day's total after it, where there is a limit per day."""
    tags: Tags = NO_TAGS
    spends: ClassVar[bool] = True

    @property
    def available_after(self) -> Money:
        return self.available or self.balance_after

    @property
    def moved(self) -> int:
        return -self.amount.minor

    @property
    def freed(self) -> int:
        return -self.amount.minor


@dataclass(frozen=True, slots=True)
class AccountFrozen(Unmoved):
    state_after: AccountState
    """Which way money does not move any more. It replaces an earlier freeze."""
    reason: str


@dataclass(frozen=True, slots=True)
class AccountUnfrozen(Unmoved):
    pass


@dataclass(frozen=True, slots=True)
class AccountClosed(Unmoved):
    """Final. Nothing follows it but refusals of transfers."""

    reason: str
    close_time: int
    """In microseconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class OverdraftLimitSet:
    limit: Money
    old_limit: Money
    balance_after: Money
    available_after: Money
    """Below zero where the new limit is less than what is used."""
    spends: ClassVar[bool] = False
    moved: ClassVar[int] = 0

    @property
    def freed(self) -> int:
        return self.limit.minor - self.old_limit.minor


@dataclass(frozen=True, slots=True)
class SpendingLimitsSet(Unmoved):
    limits: SpendingLimits | None
    """None for no limit at all."""


AccountEvent = (
    AccountOpened
    | MoneyDeposited
    | MoneyWithdrawn
    | AccountFrozen
    | AccountUnfrozen
    | AccountClosed
    | OverdraftLimitSet
    | SpendingLimitsSet
    | HoldPlaced
    | HoldCaptured
    | HoldReleased
    | HoldExpired
    | TransferSent
    | TransferReceived
    | TransferRefused
    | TransferReturned
    | DepositReversed
    | WithdrawalReversed
)

__all__ = [
    "AccountClosed",
    "AccountEvent",
    "AccountFrozen",
    "AccountOpened",
    "AccountUnfrozen",
    "DepositReversed",
    "Funds",
    "HoldCaptured",
    "HoldExpired",
    "HoldPlaced",
    "HoldReleased",
    "MoneyDeposited",
    "MoneyWithdrawn",
    "OverdraftLimitSet",
    "SpendingLimitsSet",
    "TransferReceived",
    "TransferRefused",
    "TransferReturned",
    "TransferSent",
    "WithdrawalReversed",
]

"""The events of an account.

Each states the result, so that readers assign and a redelivery is harmless: `balance_after` is the posted balance,
`available_after` what may be spent. `moved` and `freed` are the changes of the two, in minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from openbank.domain.controls import AccountState, SpendingLimits, Spent
from openbank.domain.money import Money


class Funds(NamedTuple):
    """An account's posted balance, and what may be spent: less by what is held, more by the overdraft limit."""

    balance: Money
    available: Money


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
class _Credit:
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
class _Unmoved:
    """The balance stays, and so does what may be spent."""

    balance_after: Money
    available_after: Money
    spends: ClassVar[bool] = False
    moved: ClassVar[int] = 0
    freed: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class MoneyDeposited:
    amount: Money
    description: str
    balance_after: Money
    available: Money | None = None
    """What may be spent after it; None where that is the balance, as it is without holds and an overdraft."""
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
class AccountFrozen(_Unmoved):
    state_after: AccountState
    """Which way money does not move any more. It replaces an earlier freeze."""
    reason: str


@dataclass(frozen=True, slots=True)
class AccountUnfrozen(_Unmoved):
    pass


@dataclass(frozen=True, slots=True)
class AccountClosed(_Unmoved):
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
class SpendingLimitsSet(_Unmoved):
    limits: SpendingLimits | None
    """None for no limit at all."""


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


@dataclass(frozen=True, slots=True)
class TransferSent:
    """`amount` is in transit: to be received, or refused and returned."""

    transfer_id: str
    destination_account_id: str
    amount: Money
    description: str
    balance_after: Money
    available_after: Money
    hold_id: str = ""
    """The id of the hold that it was taken out of."""
    hold_remaining_after: Money | None = None
    spent: Spent | None = None

    @property
    def spends(self) -> bool:
        return not self.hold_id

    @property
    def moved(self) -> int:
        return -self.amount.minor

    @property
    def freed(self) -> int:
        return 0 if self.hold_id else -self.amount.minor


@dataclass(frozen=True, slots=True)
class TransferReceived(_Credit):
    transfer_id: str
    source_account_id: str
    description: str


@dataclass(frozen=True, slots=True)
class TransferRefused(_Unmoved):
    """The destination does not take `amount`: because of this record, and nothing else, the source gets it back."""

    transfer_id: str
    source_account_id: str
    amount: Money
    reason: str
    """The published ErrorReason, without its prefix."""


@dataclass(frozen=True, slots=True)
class TransferReturned(_Credit):
    transfer_id: str
    destination_account_id: str
    reason: str


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
)

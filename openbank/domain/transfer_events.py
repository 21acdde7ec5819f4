"""The events of transfers: sent and returned in the source's stream, received or refused in the destination's."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.domain.controls import Spent
from openbank.domain.event_effects import Credit, Unmoved
from openbank.domain.money import Money
from openbank.domain.tags import NO_TAGS, Tags


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
    tags: Tags = NO_TAGS
    reverses_transfer_id: str = ""
    """The id of the transfer that this one takes back."""
    reversed_revision: int = 0
    """The revision at which this account received that one; 0 for a transfer that takes none back."""
    allow_overdraw: bool = False
    """Whether it may take more than there was to spend."""

    @property
    def spends(self) -> bool:
        return not (self.hold_id or self.allow_overdraw)

    @property
    def moved(self) -> int:
        return -self.amount.minor

    @property
    def freed(self) -> int:
        return 0 if self.hold_id else -self.amount.minor


@dataclass(frozen=True, slots=True)
class TransferReceived(Credit):
    transfer_id: str
    source_account_id: str
    description: str


@dataclass(frozen=True, slots=True)
class TransferRefused(Unmoved):
    """The destination does not take `amount`: because of this record, and nothing else, the source gets it back."""

    transfer_id: str
    source_account_id: str
    amount: Money
    reason: str
    """The published ErrorReason, without its prefix."""


@dataclass(frozen=True, slots=True)
class TransferReturned(Credit):
    transfer_id: str
    destination_account_id: str
    reason: str

"""An account: one owner, one number, one currency permanently, a balance, and what governs it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    Funds,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import PLAIN, AccountState, Controls, Hold
from openbank.domain.errors import AccountNotActive, AccountNotFound, DoesNotFollow
from openbank.domain.money import Currency, Money


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    owner_id: str
    account_number: str
    balance: Money
    """Posted: what all events add up to."""
    controls: Controls = PLAIN

    @property
    def currency(self) -> Currency:
        return self.balance.currency

    @property
    def state(self) -> AccountState:
        return self.controls.state

    @property
    def available(self) -> Money:
        """What may be spent: balance and overdraft limit, less what is held. Below zero after the limit was lowered."""
        controls = self.controls
        if controls is PLAIN:
            return self.balance
        return Money(self.currency, self.balance.minor + controls.overdraft_limit - controls.held)

    @property
    def funds(self) -> Funds:
        return Funds(self.balance, self.available)

    def money(self, minor: int) -> Money:
        return Money(self.currency, minor)


def there(account: Account | None, account_id: str) -> Account:
    """Raises AccountNotFound."""
    if account is None:
        raise AccountNotFound(account_id)
    return account


def creditable(account: Account | None, account_id: str) -> Account:
    """The account, if its state lets money in. Raises AccountNotFound, AccountNotActive."""
    account = there(account, account_id)
    if not account.state.takes_credits:
        raise AccountNotActive(account.account_id, account.state.value)
    return account


def debitable(account: Account | None, account_id: str) -> Account:
    """The account, if its state lets money out. Raises AccountNotFound, AccountNotActive."""
    account = there(account, account_id)
    if not account.state.takes_debits:
        raise AccountNotActive(account.account_id, account.state.value)
    return account


def open_for_change(account: Account | None, account_id: str) -> Account:
    """The account, unless it is closed. Raises AccountNotFound, AccountNotActive."""
    account = there(account, account_id)
    if account.state is AccountState.CLOSED:
        raise AccountNotActive(account.account_id, account.state.value)
    return account


def apply(account: Account | None, event: AccountEvent, revision: int = 0) -> Account:
    """The account after `event`, which states the result: adding up again could only disagree with what the bank has
    told the world. `revision` is the event's: holds and reversals keep it.

    Raises DoesNotFollow for a history that cannot be.
    """
    if account is None and isinstance(event, AccountOpened):
        return Account(event.account_id, event.owner_id, event.account_number, event.initial_deposit)
    if account is None:
        raise DoesNotFollow("it comes before the account was opened")
    if account.state is not AccountState.ACTIVE and not _allows(account.state, event):
        raise DoesNotFollow(f"the account is {account.state.value}")
    controls = _controls_after(account.controls, event, revision)
    return Account(account.account_id, account.owner_id, account.account_number, event.balance_after, controls)


def _allows(state: AccountState, event: AccountEvent) -> bool:
    """Whether the bank can have written `event` in this state."""
    if state is AccountState.CLOSED:
        return isinstance(event, TransferRefused)
    if event.moved > 0 and not isinstance(event, TransferReturned):
        return state.takes_credits
    return state.takes_debits or not (event.spends or event.moved < 0)


def _controls_after(controls: Controls, event: AccountEvent, revision: int) -> Controls:
    match event:
        case MoneyDeposited() | TransferReceived() | TransferRefused() | TransferReturned():
            return controls
        case MoneyWithdrawn():
            return replace(controls, spent=event.spent) if event.spent else controls
        case AccountFrozen():
            return replace(controls, state=event.state_after, freeze_reason=event.reason)
        case AccountUnfrozen():
            if controls.state is AccountState.ACTIVE:
                raise DoesNotFollow("it unfreezes an account that is not frozen")
            return replace(controls, state=AccountState.ACTIVE, freeze_reason="")
        case AccountClosed():
            if controls.holds:
                raise DoesNotFollow("it closes an account with open holds")
            return replace(controls, state=AccountState.CLOSED, freeze_reason="", close_time=event.close_time)
        case OverdraftLimitSet():
            if event.old_limit.minor != controls.overdraft_limit:
                raise DoesNotFollow("it replaces another overdraft limit than the account's")
            return replace(controls, overdraft_limit=event.limit.minor)
        case SpendingLimitsSet():
            return replace(controls, spending=event.limits)
        case HoldPlaced():
            if event.hold_id in controls.holds:
                raise DoesNotFollow("it places a hold that is open")
            spent = event.spent or controls.spent
            placed = replace(controls, spent=spent, holds_placed=controls.holds_placed + 1)
            return _with_hold(placed, event.hold_id, Hold(event.amount.minor, event.expire_time, revision))
        case HoldCaptured():
            taken = event.amount.minor + event.released.minor
            return _taken_out(controls, event.hold_id, taken, event.remaining_after.minor)
        case HoldReleased() | HoldExpired():
            return _taken_out(controls, event.hold_id, event.amount.minor, 0)
        case DepositReversed() | WithdrawalReversed():
            return _reversed(controls, event.reversed_revision, revision)
        case TransferSent() if event.reversed_revision:
            return _reversed(controls, event.reversed_revision, revision)
        case TransferSent():
            controls = replace(controls, spent=event.spent) if event.spent else controls
            if event.hold_remaining_after is None:
                return controls
            return _taken_out(controls, event.hold_id, event.amount.minor, event.hold_remaining_after.minor)
        case AccountOpened():
            raise DoesNotFollow("it opens an account that is open")
        case _:
            assert_never(event)


def _reversed(controls: Controls, reversed_revision: int, revision: int) -> Controls:
    """With one movement reversed by the event at `revision`."""
    if not 0 < reversed_revision < revision:
        raise DoesNotFollow("it reverses a movement that is not before it")
    if reversed_revision in controls.reversals.known:
        raise DoesNotFollow("it reverses a movement that was reversed before")
    return replace(controls, reversals=controls.reversals.with_one(reversed_revision, revision))


def _taken_out(controls: Controls, hold_id: str, minor: int, remaining: int) -> Controls:
    """With `minor` taken out of an open hold. Raises DoesNotFollow where `remaining` is not what is left in it then."""
    hold = controls.holds.get(hold_id)
    if hold is None:
        raise DoesNotFollow("it is about a hold that is not open")
    if hold.remaining != minor + remaining:
        raise DoesNotFollow("it takes more out of a hold, or less, than it states")
    return _with_hold(controls, hold_id, replace(hold, remaining=remaining))


def _with_hold(controls: Controls, hold_id: str, hold: Hold) -> Controls:
    """With this hold as it is now; without it once nothing remains."""
    before = controls.holds.get(hold_id)
    held = controls.held - (before.remaining if before else 0) + hold.remaining
    return replace(controls, holds=controls.holds.with_one(hold_id, hold), held=held, last_hold=hold.placed)

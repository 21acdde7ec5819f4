"""Freezing an account, unfreezing it, and closing it for good."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.domain.account import Account, open_for_change
from openbank.domain.account_events import AccountClosed, AccountFrozen, AccountUnfrozen
from openbank.domain.controls import AccountState
from openbank.domain.errors import AccountNotEmpty, AccountNotFrozen


@dataclass(frozen=True, slots=True)
class FreezeAccount:
    account_id: str
    state: AccountState
    """FROZEN, DEBITS_FROZEN or CREDITS_FROZEN."""
    reason: str


@dataclass(frozen=True, slots=True)
class UnfreezeAccount:
    account_id: str


@dataclass(frozen=True, slots=True)
class CloseAccount:
    account_id: str
    reason: str


def freeze(account: Account | None, command: FreezeAccount) -> AccountFrozen:
    """Replaces an earlier freeze whole. Raises AccountNotFound, AccountNotActive for a closed account."""
    account = open_for_change(account, command.account_id)
    return AccountFrozen(account.balance, account.available, command.state, command.reason)


def unfreeze(account: Account | None, command: UnfreezeAccount) -> AccountUnfrozen:
    """Raises AccountNotFound, AccountNotActive for a closed account, AccountNotFrozen."""
    account = open_for_change(account, command.account_id)
    if account.state is AccountState.ACTIVE:
        raise AccountNotFrozen(account.account_id)
    return AccountUnfrozen(account.balance, account.available)


def close(account: Account | None, command: CloseAccount, transfers_in_transit: int, now: int) -> AccountClosed:
    """`transfers_in_transit` are those that this account has sent and that may come back.

    `now` is in microseconds since 1970 UTC.

    Raises AccountNotFound, AccountNotActive for a closed account, AccountNotEmpty.
    """
    account = open_for_change(account, command.account_id)
    open_holds = len(account.controls.holds)
    if account.balance.minor or open_holds or transfers_in_transit:
        raise AccountNotEmpty(account.account_id, account.balance, open_holds, transfers_in_transit)
    return AccountClosed(account.balance, account.available, command.reason, now)

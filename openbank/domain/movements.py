"""Opening an account, paying in, and paying out."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.domain.account import Account, creditable, debitable
from openbank.domain.account_events import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.amounts import negative, own_amount
from openbank.domain.controls import PLAIN
from openbank.domain.errors import (
    AccountAlreadyExists,
    BalanceLimitExceeded,
    InsufficientFunds,
    InvalidFields,
)
from openbank.domain.limits import spend
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.tags import NO_TAGS, Tags


@dataclass(frozen=True, slots=True)
class OpenAccount:
    account_id: str
    owner_id: str
    account_number: str
    initial_deposit: Money
    """Also names the account's currency; zero is a valid amount."""


@dataclass(frozen=True, slots=True)
class Deposit:
    account_id: str
    amount: Money
    """With any number of decimals that holds it exactly: the account's currency says how many it has."""
    description: str
    tags: Tags = NO_TAGS


@dataclass(frozen=True, slots=True)
class Withdraw:
    account_id: str
    amount: Money
    """As that of a deposit."""
    description: str
    tags: Tags = NO_TAGS


def open_account(account: Account | None, command: OpenAccount) -> AccountOpened:
    """Whether the owner is registered and the number free is not this account's to know: `commands.accounts` asks.

    Raises AccountAlreadyExists, InvalidFields for a negative initial deposit, BalanceLimitExceeded.
    """
    if account is not None:
        raise AccountAlreadyExists(account.account_id)
    if command.initial_deposit.minor < 0:
        raise InvalidFields([negative("initial_deposit", command.initial_deposit)])
    if command.initial_deposit.minor > MAX_MINOR:
        nothing = Money(command.initial_deposit.currency, 0)
        raise BalanceLimitExceeded(command.account_id, nothing, command.initial_deposit)
    return AccountOpened(command.account_id, command.owner_id, command.account_number, command.initial_deposit)


def deposit(account: Account | None, command: Deposit) -> MoneyDeposited:
    """Raises AccountNotFound, AccountNotActive, InvalidFields, BalanceLimitExceeded."""
    account = creditable(account, command.account_id)
    amount = own_amount(command.amount, account.currency)
    balance = credited(account, amount)
    return MoneyDeposited(amount, command.description, balance, _available(account, balance), command.tags)


def withdraw(account: Account | None, command: Withdraw, now: int) -> MoneyWithdrawn:
    """`now` is in microseconds since 1970 UTC, for the limit per day.

    Raises AccountNotFound, AccountNotActive, InvalidFields, SpendingLimitExceeded, InsufficientFunds.
    """
    account, amount = spendable(account, command.account_id, command.amount)
    spent = spend(account, amount, now)
    balance = account.balance.minus(amount)
    return MoneyWithdrawn(amount, command.description, balance, _available(account, balance), spent, command.tags)


def spendable(account: Account | None, account_id: str, amount: Money) -> tuple[Account, Money]:
    """The account and the amount in its currency, if the account may spend it.

    Raises AccountNotFound, AccountNotActive, InvalidFields, InsufficientFunds.
    """
    account = debitable(account, account_id)
    amount = own_amount(amount, account.currency)
    if amount.minor > account.available.minor:
        raise InsufficientFunds(account.account_id, account.balance, account.available, amount)
    return account, amount


def credited(account: Account, amount: Money) -> Money:
    """The balance with `amount` paid in. Raises BalanceLimitExceeded."""
    balance = account.balance.plus(amount)
    if balance.minor > MAX_MINOR:
        raise BalanceLimitExceeded(account.account_id, account.balance, amount)
    return balance


def _available(account: Account, balance: Money) -> Money | None:
    """What may be spent of `balance`; None where that is all of it."""
    controls = account.controls
    if controls is PLAIN or controls.overdraft_limit == controls.held:
        return None
    return Money(balance.currency, balance.minor + controls.overdraft_limit - controls.held)

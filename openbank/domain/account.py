"""An account: one owner, one number, one currency for ever, and a balance that never goes below zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, assert_never

from openbank.domain.errors import (
    AccountAlreadyExists,
    AccountNotActive,
    AccountNotFound,
    BalanceLimitExceeded,
    DoesNotFollow,
    InsufficientFunds,
    InvalidFields,
    Violation,
)
from openbank.domain.money import MAX_EXPONENT, MAX_MINOR, Currency, Money, TooPrecise, to_units


class AccountState(Enum):
    """ACTIVE is the only state in which money moves; one that this version does not know is not active either."""

    ACTIVE = "ACTIVE"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class AccountOpened:
    account_id: str
    owner_id: str
    account_number: str
    initial_deposit: Money
    state_after: ClassVar[AccountState] = AccountState.ACTIVE

    @property
    def balance_after(self) -> Money:
        return self.initial_deposit

    @property
    def moved(self) -> int:
        return self.initial_deposit.minor


@dataclass(frozen=True, slots=True)
class MoneyDeposited:
    amount: Money
    description: str
    balance_after: Money
    state_after: ClassVar[AccountState | None] = None

    @property
    def moved(self) -> int:
        return self.amount.minor


@dataclass(frozen=True, slots=True)
class MoneyWithdrawn:
    amount: Money
    description: str
    balance_after: Money
    state_after: ClassVar[AccountState | None] = None

    @property
    def moved(self) -> int:
        return -self.amount.minor


AccountEvent = AccountOpened | MoneyDeposited | MoneyWithdrawn
"""Every event states what it sets: `balance_after`, and `state_after`, which is None where the state stays as it is.
`moved` is what it pays in, in minor units, or out where that is negative."""


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    owner_id: str
    account_number: str
    balance: Money
    """Posted: what all events add up to."""
    state: AccountState = AccountState.ACTIVE

    @property
    def currency(self) -> Currency:
        return self.balance.currency

    @property
    def available(self) -> Money:
        """What may be withdrawn: the balance, until there are holds."""
        return self.balance


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


@dataclass(frozen=True, slots=True)
class Withdraw:
    account_id: str
    amount: Money
    """As that of a deposit."""
    description: str


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
    account, amount = _movable(account, command)
    balance = account.balance.plus(amount)
    if balance.minor > MAX_MINOR:
        raise BalanceLimitExceeded(account.account_id, account.balance, amount)
    return MoneyDeposited(amount, command.description, balance)


def withdraw(account: Account | None, command: Withdraw) -> MoneyWithdrawn:
    """Raises AccountNotFound, AccountNotActive, InvalidFields, InsufficientFunds."""
    account, amount = _movable(account, command)
    if amount.minor > account.available.minor:
        raise InsufficientFunds(account.account_id, account.balance, account.available, amount)
    return MoneyWithdrawn(amount, command.description, account.balance.minus(amount))


def apply(account: Account | None, event: AccountEvent) -> Account:
    """The account after `event`. Raises ValueError for a history that cannot be, which is a bug or a damaged store."""
    if isinstance(event, AccountOpened):
        return Account(event.account_id, event.owner_id, event.account_number, event.initial_deposit)
    if account is None:
        raise ValueError("an event comes before its account was opened")
    # The event states the result; adding up again could only disagree with what the bank has told the world.
    state = event.state_after or account.state
    return Account(account.account_id, account.owner_id, account.account_number, event.balance_after, state)


def check_follows(balance: Money | None, event: AccountEvent) -> None:
    """Whether `event` can come right after an event that left `balance`, or be an account's first (None).

    The bank writes no other events, so one that does not follow was not written by it, or is not what it wrote. Raises
    DoesNotFollow.
    """
    match event:
        case AccountOpened():
            if balance is not None:
                raise DoesNotFollow("it opens an account that is open")
            if not (event.owner_id and event.account_number and event.initial_deposit.currency.code):
                raise DoesNotFollow("it opens an account without an owner, a number or a currency")
        case MoneyDeposited() | MoneyWithdrawn():
            _check_balance(balance, event)
            if event.amount.currency != event.balance_after.currency:
                raise DoesNotFollow("it is in another currency than the account")
            if event.amount.minor <= 0:
                raise DoesNotFollow("it moves nothing, or less")
        case _:
            assert_never(event)
    if not 0 <= event.balance_after.minor <= MAX_MINOR:
        raise DoesNotFollow("the balance that it states is one that no account can have")


def _check_balance(balance: Money | None, event: AccountEvent) -> None:
    """Whether the balance that an event states is the one before it and what it moves."""
    if balance is None:
        raise DoesNotFollow("it comes before the account was opened")
    if event.balance_after.currency != balance.currency:
        raise DoesNotFollow("it is in another currency than the account")
    if event.balance_after.minor != balance.minor + event.moved:
        raise DoesNotFollow("the balance that it states is not the balance before it and its amount")


def in_other_decimals(command: OpenAccount | Deposit | Withdraw) -> Iterator[OpenAccount | Deposit | Withdraw]:
    """The same command with its amount in every number of decimals that holds it."""
    for exponent in range(MAX_EXPONENT + 1):
        with suppress(TooPrecise):
            if isinstance(command, OpenAccount):
                yield replace(command, initial_deposit=command.initial_deposit.with_decimals(exponent))
            else:
                yield replace(command, amount=command.amount.with_decimals(exponent))


def _movable(account: Account | None, command: Deposit | Withdraw) -> tuple[Account, Money]:
    """The account, and the amount in its own currency, whatever a currency table says of that today.

    Nothing moves on an account that is not there or not active, in another currency, or by nothing or less.
    """
    if account is None:
        raise AccountNotFound(command.account_id)
    if account.state is not AccountState.ACTIVE:
        raise AccountNotActive(account.account_id, account.state.value)
    if command.amount.minor <= 0:
        raise InvalidFields([not_positive("amount", command.amount)])
    amount = command.amount
    if amount.currency != account.currency:
        amount = _in_own_currency(amount, account.currency)
    return account, amount


def _in_own_currency(amount: Money, currency: Currency) -> Money:
    if amount.currency.code != currency.code:
        raise InvalidFields([currency_mismatch("amount.currency_code", currency, amount.currency)])
    if finer := finer_than(currency, amount):
        raise InvalidFields(finer)
    return amount.with_decimals(currency.exponent)


def finer_than(currency: Currency, amount: Money) -> Sequence[Violation]:
    """What an account in this currency has against the decimals of an amount, whatever those of a table are."""
    try:
        amount.with_decimals(currency.exponent)
    except TooPrecise:
        return [too_precise("amount.nanos", amount, currency)]
    return ()


def currency_mismatch(field: str, expected: Currency, actual: Currency) -> Violation:
    message = f"is {actual.code}, the account's currency is {expected.code}"
    codes = {"currencyCode": actual.code, "expectedCurrencyCode": expected.code}
    return Violation(field, "CURRENCY_MISMATCH", message, codes)


def not_positive(field: str, amount: Money) -> Violation:
    return Violation(field, "AMOUNT_NOT_POSITIVE", f"is {amount}, must be more than zero", {"amount": str(amount)})


def negative(field: str, amount: Money) -> Violation:
    return Violation(field, "AMOUNT_NEGATIVE", f"is {amount}, must not be negative", {"amount": str(amount)})


def too_precise(field: str, amount: Money, currency: Currency) -> Violation:
    """nanos: 50 looks like 50 cents and is 0.00000005: the message shows both what was sent and what may be meant."""
    digits = currency.exponent
    exact = amount.with_decimals(MAX_EXPONENT)
    units, nanos = to_units(exact)
    text = f"{exact} is finer than {currency.code}'s {digits} decimals"
    if abs(nanos) < 10**digits:
        sign = -1 if exact.minor < 0 else 1
        meant = Money(currency, units * 10**digits + sign * abs(nanos))
        units, nanos = to_units(meant)
        text += f"; {meant} is units: {units}, nanos: {nanos}"
    return Violation(field, "AMOUNT_TOO_PRECISE", text, {"amount": str(exact), "minorUnitDigits": str(digits)})

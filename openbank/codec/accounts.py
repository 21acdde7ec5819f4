"""The event types of accounts.

A new one is a row in ROWS, with its two functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from openbank.accounts.v1 import account_events_pb2 as messages
from openbank.codec.event_type import EventType
from openbank.codec.values import check_currency, currency_of, money_message, money_of
from openbank.domain.account import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.money import from_units, to_units

Movement = TypeVar("Movement", MoneyDeposited, MoneyWithdrawn)
MovementMessage = TypeVar("MovementMessage", messages.MoneyDeposited, messages.MoneyWithdrawn)


def _opened(event: AccountOpened) -> messages.AccountOpened:
    return messages.AccountOpened(
        owner_id=event.owner_id,
        account_number=event.account_number,
        currency_code=event.initial_deposit.currency.code,
        initial_deposit=money_message(event.initial_deposit),
        balance_after=money_message(event.balance_after),
        currency_exponent=event.initial_deposit.currency.exponent,
    )


def _from_opened(message: messages.AccountOpened, account_id: str) -> AccountOpened:
    deposit = money_of(message.initial_deposit, message.currency_exponent)
    if message.balance_after != message.initial_deposit:
        raise ValueError("another balance than the initial deposit")
    check_currency(message.initial_deposit, message.currency_code)
    return AccountOpened(account_id, message.owner_id, message.account_number, deposit)


def _deposited(event: MoneyDeposited) -> messages.MoneyDeposited:
    return _moved(event, messages.MoneyDeposited())


def _withdrawn(event: MoneyWithdrawn) -> messages.MoneyWithdrawn:
    return _moved(event, messages.MoneyWithdrawn())


def _moved(event: MoneyDeposited | MoneyWithdrawn, message: MovementMessage) -> MovementMessage:
    """By assignment: building the nested amounts from keywords takes five times as long, on the hottest path."""
    code = event.amount.currency.code
    amount, balance = message.amount, message.balance_after
    amount.currency_code = balance.currency_code = code
    amount.units, amount.nanos = to_units(event.amount)
    balance.units, balance.nanos = to_units(event.balance_after)
    message.description = event.description
    message.currency_exponent = event.amount.currency.exponent
    return message


def _from_moved(event: type[Movement]) -> Callable[[Any, str], Movement]:
    def decode_moved(message: messages.MoneyDeposited | messages.MoneyWithdrawn, _: str) -> Movement:
        currency = currency_of(message.amount.currency_code, message.currency_exponent)
        check_currency(message.balance_after, currency.code)
        return event(
            from_units(currency, message.amount.units, message.amount.nanos),
            message.description,
            from_units(currency, message.balance_after.units, message.balance_after.nanos),
        )

    return decode_moved


ROWS = (
    EventType(
        AccountOpened,
        messages.AccountOpened,
        _opened,
        _from_opened,
        published_as="account.opened.v1",
    ),
    EventType(
        MoneyDeposited,
        messages.MoneyDeposited,
        _deposited,
        _from_moved(MoneyDeposited),
        published_as="money.deposited.v1",
    ),
    EventType(
        MoneyWithdrawn,
        messages.MoneyWithdrawn,
        _withdrawn,
        _from_moved(MoneyWithdrawn),
        published_as="money.withdrawn.v1",
    ),
)

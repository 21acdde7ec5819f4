"""Money in payloads."""

from __future__ import annotations

from openbank.common.v1 import money_pb2
from openbank.domain.money import MAX_EXPONENT, Currency, Money, from_units, to_units


def money_message(money: Money) -> money_pb2.Money:
    units, nanos = to_units(money)
    return money_pb2.Money(currency_code=money.currency.code, units=units, nanos=nanos)


def money_of(message: money_pb2.Money, exponent: int) -> Money:
    return from_units(currency_of(message.currency_code, exponent), message.units, message.nanos)


def currency_of(code: str, exponent: int) -> Currency:
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ValueError(f"a currency with {exponent} decimals")
    return Currency.of(code, exponent)


def check_currency(message: money_pb2.Money, code: str) -> None:
    """A payload is published as it is stored, so a value that it states twice must be the same."""
    if message.currency_code != code:
        raise ValueError("two currencies")

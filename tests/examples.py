"""The bank's usual suspects: John Doe, his address, his account and his money."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import count
from typing import Any
from uuid import UUID

from openbank.domain.account import Account
from openbank.domain.money import Currency, Money
from openbank.domain.movements import OpenAccount
from openbank.domain.person import Address, Gender, Person
from openbank.domain.request import Request

USD = Currency("USD", 2)
EUR = Currency("EUR", 2)
JPY = Currency("JPY", 0)
KWD = Currency("KWD", 3)
CLF = Currency("CLF", 4)
CURRENCIES = (USD, EUR, JPY, KWD, CLF)
"""One of every exponent that ISO 4217 has, but for 1, which it does not have; and two of the same."""

TODAY = date(2024, 2, 29)
NOON = 1_709_208_000_000_000
"""Noon of TODAY, in microseconds."""

HOME = Address("1 Main Street", "Springfield", "12345", "USA")
OFFICE = Address("Unter den Linden 1", "Berlin", "", "Germany")
JOHN = Person("john", "John", "Doe", "US", Gender.MALE, date(1980, 1, 31), HOME, "john@example.com")
ACCOUNT = Account("a-1", "john", "123456789", Money(USD, 100_000))


def usd(cents: int) -> Money:
    return Money(USD, cents)


def john(**changes: Any) -> Person:
    return replace(JOHN, **changes)


def opening(number: str = "123456789", deposit: Money = Money(USD, 100_000), **changes: Any) -> OpenAccount:  # noqa: B008
    """John opens an account, under an id that the bank makes."""
    return replace(OpenAccount("", "john", number, deposit), **changes)


_numbers = count(1)


def some_request(**parts: Any) -> Request:
    """A request with a request id that no other has."""
    return Request(UUID(int=next(_numbers)).bytes, **parts)

"""Exact money: whole minor units of one currency. No amount is ever a float."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

MAX_MINOR = 2**53 - 1
"""The largest balance, in minor units: the largest integer that JavaScript represents exactly."""

NANOS = 1_000_000_000
MAX_EXPONENT = 9
_SCALES = tuple(10**exponent for exponent in range(MAX_EXPONENT + 1))


class Currency(NamedTuple):
    """An ISO 4217 currency: its alphabetic code, and how many decimal digits its minor unit has (JPY 0, USD 2)."""

    code: str
    exponent: int

    @staticmethod
    @lru_cache
    def of(code: str, exponent: int) -> Currency:
        """The same object for equal values: the many accounts in memory share a few."""
        return Currency(code, exponent)


class Money(NamedTuple):
    """`minor` minor units of `currency`: Money(USD, 1050) is 10.50 USD."""

    currency: Currency
    minor: int

    def __str__(self) -> str:
        """Decimal digits, exactly as many decimals as the currency has, and the currency: "10.50 USD"."""
        units, nanos = to_units(self)
        sign = "-" if self.minor < 0 else ""
        decimals = f".{abs(nanos):09d}"[: self.currency.exponent + 1] if self.currency.exponent else ""
        return f"{sign}{abs(units)}{decimals} {self.currency.code}"

    def plus(self, other: Money) -> Money:
        return Money(self.currency, self.minor + _same_currency(self, other).minor)

    def minus(self, other: Money) -> Money:
        return Money(self.currency, self.minor - _same_currency(self, other).minor)

    def with_decimals(self, exponent: int) -> Money:
        """The same amount, counted in units of `exponent` decimals. Raises TooPrecise where it has more."""
        currency = Currency.of(self.currency.code, exponent)
        shift = exponent - self.currency.exponent
        if shift >= 0:
            return Money(currency, self.minor * _SCALES[shift])
        minor, rest = divmod(self.minor, _SCALES[-shift])
        if rest:
            raise TooPrecise(self.minor)
        return Money(currency, minor)


class TooPrecise(ValueError):
    """An amount finer than the currency's minor unit."""


class SignsDiffer(ValueError):
    """Units and nanos of opposite signs."""


class NanosOutOfRange(ValueError):
    """Nanos beyond ±999,999,999."""


def from_units(currency: Currency, units: int, nanos: int) -> Money:
    """Units and nanos, as on the wire, to exact minor units.

    Raises NanosOutOfRange, SignsDiffer or TooPrecise, all of them ValueErrors.
    """
    if not nanos:
        return Money(currency, units * _SCALES[currency.exponent])
    if abs(nanos) >= NANOS:
        raise NanosOutOfRange(nanos)
    if units and (units > 0) != (nanos > 0):
        raise SignsDiffer(units, nanos)
    scale = _SCALES[MAX_EXPONENT - currency.exponent]
    if nanos % scale:
        raise TooPrecise(nanos)
    return Money(currency, units * _SCALES[currency.exponent] + nanos // scale)


def to_units(money: Money) -> tuple[int, int]:
    """Minor units to (units, nanos), both of the amount's sign: the inverse of `from_units`."""
    (_, exponent), amount = money
    scale = _SCALES[exponent]
    if amount < 0:
        units, rest = divmod(-amount, scale)
        return -units, -rest * (NANOS // scale)
    units, rest = divmod(amount, scale)
    return units, rest * (NANOS // scale)


def _same_currency(left: Money, right: Money) -> Money:
    if left.currency != right.currency:
        raise ValueError(f"{left.currency.code} and {right.currency.code} do not add up")
    return right

"""Amounts in an account's own currency, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from openbank.domain.errors import InvalidFields, Violation
from openbank.domain.money import MAX_EXPONENT, MAX_MINOR, Currency, Money, TooPrecise, to_units


def own_amount(amount: Money, currency: Currency, field: str = "amount") -> Money:
    """A positive amount in the account's own currency, whatever a currency table says of that today.

    Raises InvalidFields.
    """
    if amount.minor <= 0:
        raise InvalidFields([not_positive(field, amount)])
    return in_currency(amount, currency, field)


def in_currency(amount: Money, currency: Currency, field: str = "amount") -> Money:
    """Raises InvalidFields for another currency, and for more decimals than this one has."""
    if amount.currency == currency:
        return amount
    if amount.currency.code != currency.code:
        raise InvalidFields([currency_mismatch(f"{field}.currency_code", currency, amount.currency)])
    if finer := finer_than(currency, amount, field):
        raise InvalidFields(finer)
    return amount.with_decimals(currency.exponent)


def own_limit(limit: Money, currency: Currency, field: str) -> Money:
    """A limit in the account's own currency: no higher than any balance can be, so that it can be stored and added to.

    Raises InvalidFields.
    """
    limit = in_currency(limit, currency, field)
    if limit.minor > MAX_MINOR:
        raise InvalidFields([_too_large(field, limit, Money(currency, MAX_MINOR))])
    return limit


def finer_than(currency: Currency, amount: Money, field: str = "amount") -> Sequence[Violation]:
    """What an account in this currency has against the decimals of an amount, whatever those of a table are."""
    try:
        amount.with_decimals(currency.exponent)
    except TooPrecise:
        return [too_precise(f"{field}.nanos", amount, currency)]
    return ()


def currency_mismatch(field: str, expected: Currency, actual: Currency) -> Violation:
    message = f"is {actual.code}, the account's currency is {expected.code}"
    codes = {"currencyCode": actual.code, "expectedCurrencyCode": expected.code}
    return Violation(field, "CURRENCY_MISMATCH", message, codes)


def not_positive(field: str, amount: Money) -> Violation:
    return Violation(field, "AMOUNT_NOT_POSITIVE", f"is {amount}, must be more than zero", {"amount": str(amount)})


def _too_large(field: str, amount: Money, largest: Money) -> Violation:
    metadata = {"amount": str(amount), "max": str(largest)}
    return Violation(field, "AMOUNT_OUT_OF_RANGE", f"is {amount}, must be at most {largest}", metadata)


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


def in_other_decimals(command: Any) -> Iterator[Any]:
    """The same command, a dataclass, with its amounts in every number of decimals that holds them."""
    if not _amounts(command):
        return
    for exponent in range(MAX_EXPONENT + 1):
        with suppress(TooPrecise):
            yield in_decimals(command, exponent)


def in_decimals(command: Any, exponent: int) -> Any:
    """The same command, a dataclass, with its amounts in this number of decimals. Raises TooPrecise."""
    amounts = {name: amount.with_decimals(exponent) for name, amount in _amounts(command).items()}
    return replace(command, **amounts)


def _amounts(command: Any) -> Mapping[str, Money]:
    names = command.__dataclass_fields__
    return {name: value for name in names if isinstance(value := getattr(command, name), Money)}

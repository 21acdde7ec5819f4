"""Amounts to move, and limits: as `values.read_money` reads them, with what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openbank.domain.account import Account
from openbank.domain.amounts import finer_than, not_positive
from openbank.domain.errors import Violation
from openbank.domain.fields import Fields
from openbank.domain.money import Currency, Money
from openbank.domain.request import Request
from openbank.rpc.convert.values import CURRENCIES, read_money

_BY_TABLE = frozenset({"UNKNOWN_CURRENCY", "AMOUNT_TOO_PRECISE"})


def read_amount(fields: Fields, message: Any) -> Money:
    """The amount to move, which is required."""
    if not message.HasField("amount"):
        fields.unreadable("amount", "FIELD_REQUIRED", "is required")
        return Money(Currency("", 0), 1)
    amount = read_money(fields, "amount", message.amount)
    if amount.minor <= 0 and has_decimals_of_table(amount):
        refuse_sign(fields, not_positive("amount", amount), amount)
    return amount


def settle_amount(fields: Fields, request: Request, amount: Money, field: str = "amount") -> Request:
    return settle_amounts(fields, request, {field: amount})


def settle_amounts(fields: Fields, request: Request, amounts: Mapping[str, Money]) -> Request:
    """As `Fields.settle`; and what the currency table alone has against one of `amounts`, by field, is nothing to an
    account that is in this currency: its own decimals count.
    """
    by_rule = [violation for violation in fields.violations if violation.reason not in _BY_TABLE]
    if not fields.readable or (by_rule and not request.id):
        fields.check()

    def violations(account: Account | None) -> Sequence[Violation]:
        if account is None:
            return fields.violations
        currency = account.currency
        own = {field: amount for field, amount in amounts.items() if amount.currency.code == currency.code}
        finer = [one for field, amount in own.items() for one in finer_than(currency, amount, field)]
        others = (one for one in fields.violations if one.reason not in _BY_TABLE or _top(one.field) not in own)
        return [*finer, *others]

    return request._replace(violations=violations)


def in_equal_decimals(amounts: Mapping[str, Money]) -> Mapping[str, Money]:
    """The amounts of one request, all with as many decimals as the one with most: the fingerprint of a request is known
    again in any number of decimals, but only in one for all.
    """
    most = max((amount.currency.exponent for amount in amounts.values()), default=0)
    return {field: amount.with_decimals(most) for field, amount in amounts.items()}


def _top(path: str) -> str:
    return path.partition(".")[0]


def has_decimals_of_table(amount: Money) -> bool:
    """One that is too precise is refused for that alone."""
    return amount.currency == CURRENCIES.get(amount.currency.code, amount.currency)


def refuse_sign(fields: Fields, violation: Violation, amount: Money) -> None:
    """Without its figures where the amount names no currency to show them in."""
    if amount.currency.code not in CURRENCIES:
        fields.refuse(violation.field, violation.reason, "must be greater than zero")
    else:
        fields.violations.append(violation)

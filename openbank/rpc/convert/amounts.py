"""Amounts to move, and limits: as `values.read_money` reads them, with what is refused of them."""

from __future__ import annotations

from collections.abc import Sequence
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
    """As `Fields.settle`; and what the currency table alone has against an amount is nothing to an account that is in
    this currency: its own decimals count.
    """
    by_rule = [violation for violation in fields.violations if violation.reason not in _BY_TABLE]
    if not fields.readable or (by_rule and not request.id):
        fields.check()

    def violations(account: Account | None) -> Sequence[Violation]:
        if account is None or account.currency.code != amount.currency.code:
            return fields.violations
        return [*finer_than(account.currency, amount, field), *by_rule]

    return request._replace(violations=violations)


def has_decimals_of_table(amount: Money) -> bool:
    """One that is too precise is refused for that alone."""
    return amount.currency == CURRENCIES.get(amount.currency.code, amount.currency)


def refuse_sign(fields: Fields, violation: Violation, amount: Money) -> None:
    """Without its figures where the amount names no currency to show them in."""
    if amount.currency.code not in CURRENCIES:
        fields.refuse(violation.field, violation.reason, "is too little in any currency")
    else:
        fields.violations.append(violation)

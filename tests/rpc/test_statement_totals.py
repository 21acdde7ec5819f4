"""Totals of a statement may be more than a message can hold, as balances cannot."""

from __future__ import annotations

import pytest

from openbank.accounts.v1.accounts_service_pb2 import GetAccountStatementResponse
from openbank.domain.account import Account
from openbank.domain.errors import InvalidFields
from openbank.domain.money import Currency, Money
from openbank.queries.statements import Statement
from openbank.rpc.convert.statements import fill_statement
from openbank.views.port import Standing

YEN, DOLLARS = Currency("JPY", 0), Currency("USD", 2)
UNITS_MAX = 2**63 - 1


def statement(currency: Currency, credits: int) -> Statement:
    balance = Money(currency, 7)
    account = Account("1", "ann", "1", balance)
    return Statement(account, None, Standing(9, 9, 1, balance, balance, 9, credits), True, [], "")


def test_totals_are_exact_up_to_the_largest_amount() -> None:
    for currency, credits, units, nanos in ((YEN, UNITS_MAX, UNITS_MAX, 0), (DOLLARS, 2**64 + 1, 2**64 // 100, 17)):
        response = GetAccountStatementResponse()
        fill_statement(response, statement(currency, credits))
        assert (response.total_credits.units, response.total_credits.nanos) == (units, nanos * 10_000_000)


def test_larger_totals_are_refused_as_an_invalid_period() -> None:
    with pytest.raises(InvalidFields) as refused:
        fill_statement(GetAccountStatementResponse(), statement(YEN, UNITS_MAX + 1))
    [violation] = refused.value.violations
    assert (violation.field, violation.reason) == ("period", "INVALID_PERIOD")

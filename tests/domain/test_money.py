"""Money is whole minor units, exactly, whatever its currency's exponent."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.domain.money import (
    MAX_MINOR,
    NANOS,
    Currency,
    Money,
    NanosOutOfRange,
    SignsDiffer,
    TooPrecise,
    from_units,
    to_units,
)
from tests.examples import CLF, EUR, JPY, KWD, USD, usd

EXPONENTS = st.integers(0, 4)
CURRENCY = EXPONENTS.map(lambda exponent: Currency("XTS", exponent))
INT64 = st.integers(-(2**63), 2**63 - 1)
MINOR = st.integers(-(2**62), 2**62)
NANO = st.integers(1 - NANOS, NANOS - 1)


@given(CURRENCY, MINOR)
def test_units_and_nanos_are_the_amount_and_back(currency: Currency, minor: int) -> None:
    money = Money(currency, minor)
    assert from_units(currency, *to_units(money)) == money


@given(CURRENCY, MINOR)
def test_units_and_nanos_have_the_amounts_sign_and_value(currency: Currency, minor: int) -> None:
    units, nanos = to_units(Money(currency, minor))
    assert abs(nanos) < NANOS
    assert units * minor >= 0
    assert nanos * minor >= 0
    assert units + Fraction(nanos, NANOS) == Fraction(minor, 10**currency.exponent)


@given(CURRENCY, INT64, NANO)
def test_any_units_and_nanos_are_read_exactly_or_refused(currency: Currency, units: int, nanos: int) -> None:
    exact = (units + Fraction(nanos, NANOS)) * 10**currency.exponent
    if units * nanos < 0:
        with pytest.raises(SignsDiffer):
            from_units(currency, units, nanos)
    elif exact.denominator != 1:
        with pytest.raises(TooPrecise):
            from_units(currency, units, nanos)
    else:
        assert from_units(currency, units, nanos) == Money(currency, exact.numerator)


@given(CURRENCY, INT64, st.integers().filter(lambda nanos: abs(nanos) >= NANOS))
def test_nanos_of_a_unit_or_more_are_refused(currency: Currency, units: int, nanos: int) -> None:
    with pytest.raises(NanosOutOfRange):
        from_units(currency, units, nanos)


@given(CURRENCY, MINOR)
def test_nothing_but_whole_numbers_comes_out(currency: Currency, minor: int) -> None:
    units, nanos = to_units(Money(currency, minor))
    assert type(units) is type(nanos) is type(from_units(currency, units, nanos).minor) is int


@pytest.mark.parametrize(
    ("currency", "units", "nanos", "minor"),
    [
        (USD, 10, 500_000_000, 1050),
        (USD, 0, 10_000_000, 1),
        (USD, 0, -10_000_000, -1),
        (USD, -3, -250_000_000, -325),
        (JPY, 1000, 0, 1000),
        (KWD, 1, 1_000_000, 1001),
        (CLF, 0, 100_000, 1),
        (USD, MAX_MINOR // 100, 910_000_000, MAX_MINOR),
    ],
)
def test_amounts_are_converted_from_units_and_nanos_and_back(
    currency: Currency, units: int, nanos: int, minor: int
) -> None:
    assert from_units(currency, units, nanos) == Money(currency, minor)
    assert to_units(Money(currency, minor)) == (units, nanos)


@pytest.mark.parametrize(("currency", "nanos"), [(USD, 50), (USD, 1_000_000), (JPY, 500_000_000), (KWD, 100_000)])
def test_an_amount_finer_than_its_currency_is_refused(currency: Currency, nanos: int) -> None:
    with pytest.raises(TooPrecise):
        from_units(currency, 0, nanos)
    with pytest.raises(TooPrecise):
        from_units(currency, -1, -nanos)


@pytest.mark.parametrize(("units", "nanos"), [(1, -10_000_000), (-1, 10_000_000)])
def test_units_and_nanos_of_opposite_signs_are_refused(units: int, nanos: int) -> None:
    with pytest.raises(SignsDiffer):
        from_units(USD, units, nanos)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (usd(1050), "10.50 USD"),
        (usd(5), "0.05 USD"),
        (usd(-5), "-0.05 USD"),
        (usd(-123), "-1.23 USD"),
        (usd(0), "0.00 USD"),
        (usd(MAX_MINOR), "90071992547409.91 USD"),
        (Money(JPY, 1000), "1000 JPY"),
        (Money(JPY, -1), "-1 JPY"),
        (Money(KWD, 1), "0.001 KWD"),
        (Money(CLF, 12345), "1.2345 CLF"),
    ],
)
def test_an_amount_is_shown_with_its_currencys_decimals(money: Money, text: str) -> None:
    assert str(money) == text


@given(CURRENCY, MINOR)
def test_the_exact_amount_is_shown(currency: Currency, minor: int) -> None:
    digits, code = str(Money(currency, minor)).split(" ")
    assert Fraction(digits) * 10**currency.exponent == minor
    assert len(digits.partition(".")[2]) == currency.exponent
    assert code == currency.code


@given(CURRENCY, MINOR, MINOR)
def test_an_added_amount_can_be_subtracted(currency: Currency, left: int, right: int) -> None:
    money = Money(currency, left)
    assert money.plus(Money(currency, right)) == Money(currency, left + right)
    assert money.plus(Money(currency, right)).minus(Money(currency, right)) == money


@pytest.mark.parametrize("other", [Money(EUR, 1), Money(Currency("USD", 3), 1)])
def test_amounts_of_different_currencies_do_not_add_up(other: Money) -> None:
    with pytest.raises(ValueError, match="do not add up"):
        usd(1).plus(other)
    with pytest.raises(ValueError, match="do not add up"):
        usd(1).minus(other)


def test_the_largest_balance_is_the_largest_integer_that_a_double_holds_exactly() -> None:
    assert MAX_MINOR == 2**53 - 1 == int(float(MAX_MINOR))
    assert int(float(MAX_MINOR + 2)) != MAX_MINOR + 2


@given(CURRENCY, MINOR, st.integers(0, 9))
def test_an_amount_with_other_decimals_is_the_same_amount_or_is_refused(
    currency: Currency, minor: int, exponent: int
) -> None:
    exact = Fraction(minor, 10**currency.exponent) * 10**exponent
    if exact.denominator != 1:
        with pytest.raises(TooPrecise):
            Money(currency, minor).with_decimals(exponent)
    else:
        other = Money(Currency(currency.code, exponent), exact.numerator)
        assert Money(currency, minor).with_decimals(exponent) == other
        assert other.with_decimals(currency.exponent) == Money(currency, minor)


def test_equal_currencies_are_one_object() -> None:
    """So twenty thousand accounts in memory do not have as many of them."""
    assert Currency.of("USD", 2) is Currency.of("".join(["U", "SD"]), 2)
    assert Currency.of("USD", 2) == Currency("USD", 2) != Currency.of("USD", 3)

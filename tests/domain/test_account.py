"""An account's money: it moves exactly, only when it may, and never below zero or past the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.domain import account, movements
from openbank.domain.account import Account
from openbank.domain.account_events import AccountEvent, AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.controls import AccountState, Controls
from openbank.domain.errors import (
    AccountAlreadyExists,
    AccountNotActive,
    AccountNotFound,
    BalanceLimitExceeded,
    DoesNotFollow,
    InsufficientFunds,
    InvalidFields,
    Refused,
)
from openbank.domain.money import MAX_MINOR, Currency, Money
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from tests.examples import ACCOUNT, CURRENCIES, EUR, JPY, USD, opening, usd

Move = Deposit | Withdraw
NOW = 1_700_000_000_000_000

# Small and near the limit, so that both ends are met often.
AMOUNTS = st.one_of(st.integers(-3, 500), st.integers(MAX_MINOR - 500, MAX_MINOR + 500))
MOVES = st.builds(lambda move, minor: move("a-1", usd(minor), ""), st.sampled_from([Deposit, Withdraw]), AMOUNTS)


def decide(state: Account | None, command: Move) -> MoneyDeposited | MoneyWithdrawn:
    return (
        movements.deposit(state, command) if isinstance(command, Deposit) else movements.withdraw(state, command, NOW)
    )


def with_balance(minor: int, currency: Currency = USD) -> Account:
    return replace(ACCOUNT, balance=Money(currency, minor))


# Opening


@pytest.mark.parametrize("deposit", [usd(0), usd(100_000), usd(MAX_MINOR), *(Money(c, 1) for c in CURRENCIES)])
def test_an_account_opens_with_its_initial_deposit_in_that_currency(deposit: Money) -> None:
    opened = movements.open_account(None, opening(deposit=deposit, account_id="a-1"))
    assert opened == AccountOpened("a-1", "john", "123456789", deposit)
    state = account.apply(None, opened)
    assert state.balance == state.available == opened.balance_after == deposit
    assert state.currency == deposit.currency
    assert state.state is AccountState.ACTIVE


def test_an_account_is_opened_once() -> None:
    with pytest.raises(AccountAlreadyExists):
        movements.open_account(ACCOUNT, opening())


def test_an_initial_deposit_is_not_negative() -> None:
    with pytest.raises(InvalidFields) as refused:
        movements.open_account(None, opening(deposit=usd(-1)))
    assert refused.value.violations[0][:2] == ("initial_deposit", "AMOUNT_NEGATIVE")


def test_an_initial_deposit_is_not_past_the_limit() -> None:
    with pytest.raises(BalanceLimitExceeded):
        movements.open_account(None, opening(deposit=usd(MAX_MINOR + 1)))


# Moving money


def test_a_deposit_increases_the_balance_and_states_it() -> None:
    assert movements.deposit(ACCOUNT, Deposit("a-1", usd(50_000), "Salary")) == MoneyDeposited(
        usd(50_000), "Salary", usd(150_000)
    )


def test_a_withdrawal_decreases_the_balance_and_states_it() -> None:
    assert movements.withdraw(ACCOUNT, Withdraw("a-1", usd(1), "Gum"), NOW) == MoneyWithdrawn(
        usd(1), "Gum", usd(99_999)
    )


def test_the_whole_balance_can_be_withdrawn_and_not_a_cent_more() -> None:
    assert movements.withdraw(ACCOUNT, Withdraw("a-1", usd(100_000), ""), NOW).balance_after == usd(0)
    with pytest.raises(InsufficientFunds):
        movements.withdraw(ACCOUNT, Withdraw("a-1", usd(100_001), ""), NOW)


def test_a_balance_reaches_the_limit_and_not_a_cent_more() -> None:
    assert movements.deposit(ACCOUNT, Deposit("a-1", usd(MAX_MINOR - 100_000), "")).balance_after == usd(MAX_MINOR)
    with pytest.raises(BalanceLimitExceeded):
        movements.deposit(ACCOUNT, Deposit("a-1", usd(MAX_MINOR - 99_999), ""))


@pytest.mark.parametrize("move", [Deposit, Withdraw])
@pytest.mark.parametrize("minor", [0, -1, -100_000])
def test_an_amount_to_move_is_positive(move: type[Move], minor: int) -> None:
    with pytest.raises(InvalidFields) as refused:
        decide(ACCOUNT, move("a-1", usd(minor), ""))
    assert refused.value.violations[0][:2] == ("amount", "AMOUNT_NOT_POSITIVE")


@pytest.mark.parametrize("move", [Deposit, Withdraw])
@pytest.mark.parametrize("amount", [Money(EUR, 100), Money(JPY, 100)])
def test_no_money_moves_in_another_currency(move: type[Move], amount: Money) -> None:
    with pytest.raises(InvalidFields) as refused:
        decide(ACCOUNT, move("a-1", amount, ""))
    assert refused.value.violations[0][:2] == ("amount.currency_code", "CURRENCY_MISMATCH")


@pytest.mark.parametrize("move", [Deposit, Withdraw])
@pytest.mark.parametrize(("exponent", "minor"), [(0, 5), (3, 5_000), (9, 5 * 10**9)])
def test_money_moves_in_the_accounts_own_decimals(move: type[Move], exponent: int, minor: int) -> None:
    command = move("a-1", Money(Currency("USD", exponent), minor), "")
    assert decide(ACCOUNT, command) == decide(ACCOUNT, move("a-1", usd(500), ""))


@pytest.mark.parametrize("move", [Deposit, Withdraw])
def test_no_money_moves_that_is_finer_than_the_accounts_own_decimals(move: type[Move]) -> None:
    with pytest.raises(InvalidFields) as refused:
        decide(ACCOUNT, move("a-1", Money(Currency("USD", 3), 1_005), ""))
    assert refused.value.violations[0][:2] == ("amount.nanos", "AMOUNT_TOO_PRECISE")
    assert refused.value.violations[0].metadata == {"amount": "1.005000000 USD", "minorUnitDigits": "2"}


@pytest.mark.parametrize("move", [Deposit, Withdraw])
@pytest.mark.parametrize("state", [AccountState.FROZEN, AccountState.CLOSED])
def test_nothing_moves_on_an_account_that_is_not_active(move: type[Move], state: AccountState) -> None:
    with pytest.raises(AccountNotActive) as refused:
        decide(replace(ACCOUNT, controls=Controls(state)), move("a-1", usd(1), ""))
    assert state.value in refused.value.metadata["state"]


@pytest.mark.parametrize("move", [Deposit, Withdraw])
def test_nothing_moves_where_there_is_no_account(move: type[Move]) -> None:
    with pytest.raises(AccountNotFound):
        decide(None, move("a-1", usd(1), ""))


@pytest.mark.parametrize("move", [Deposit, Withdraw])
def test_the_state_of_the_account_is_checked_before_the_rules(move: type[Move]) -> None:
    with pytest.raises(AccountNotActive):
        decide(replace(ACCOUNT, controls=Controls(AccountState.FROZEN)), move("a-1", Money(EUR, 10**20), ""))


def test_an_account_opens_once() -> None:
    again = AccountOpened(ACCOUNT.account_id, "jane", ACCOUNT.account_number, usd(1))
    with pytest.raises(DoesNotFollow, match="is open"):
        account.apply(ACCOUNT, again, 2)


@pytest.mark.parametrize("event", [MoneyDeposited(usd(1), "", usd(1)), MoneyWithdrawn(usd(1), "", usd(0))])
def test_money_that_moved_before_the_opening_does_not_follow(event: AccountEvent) -> None:
    with pytest.raises(DoesNotFollow, match="before the account"):
        account.apply(None, event)


# Histories


@given(st.integers(0, MAX_MINOR), MOVES)
def test_a_balance_never_leaves_its_bounds(balance: int, command: Move) -> None:
    try:
        event = decide(with_balance(balance), command)
    except Refused:
        return
    assert 0 <= event.balance_after.minor <= MAX_MINOR


@given(st.integers(0, MAX_MINOR), MOVES)
def test_a_move_is_refused_only_for_a_reason(balance: int, command: Move) -> None:
    amount = command.amount.minor
    try:
        decide(with_balance(balance), command)
    except InvalidFields:
        assert amount <= 0
    except InsufficientFunds:
        assert isinstance(command, Withdraw)
        assert amount > balance
    except BalanceLimitExceeded:
        assert isinstance(command, Deposit)
        assert balance + amount > MAX_MINOR


@given(st.integers(0, MAX_MINOR), MOVES)
def test_the_state_after_an_event_is_what_the_event_states(balance: int, command: Move) -> None:
    before = with_balance(balance)
    try:
        event = decide(before, command)
    except Refused:
        return
    after = account.apply(before, event)
    assert after.balance == event.balance_after
    assert replace(after, balance=before.balance) == before


@given(st.integers(0, 500), st.lists(MOVES))
def test_the_balance_is_the_sum_of_the_history(initial: int, commands: list[Move]) -> None:
    state = account.apply(None, movements.open_account(None, OpenAccount("a-1", "john", "1", usd(initial))))
    moved = initial
    for command in commands:
        try:
            event = decide(state, command)
        except Refused:
            continue
        moved += event.amount.minor if isinstance(event, MoneyDeposited) else -event.amount.minor
        state = account.apply(state, event)
        assert state.balance == usd(moved)


@given(st.lists(MOVES))
def test_a_refusal_leaves_everything_as_it_was(commands: list[Move]) -> None:
    accepted = []
    state = ACCOUNT
    for command in commands:
        try:
            event = decide(state, command)
        except Refused:
            continue
        accepted.append(command)
        state = account.apply(state, event)
    again = ACCOUNT
    for command in accepted:
        again = account.apply(again, decide(again, command))
    assert again == state

"""Accounts are opened, and money comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from openbank.commands import accounts
from openbank.commands.write_side import WriteSide
from openbank.domain.controls import AccountState
from openbank.domain.errors import (
    AccountAlreadyExists,
    AccountNotFound,
    AccountNumberTaken,
    BalanceLimitExceeded,
    InsufficientFunds,
    InvalidFields,
    OwnerNotFound,
    RevisionMismatch,
)
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.request import Request
from tests.commands.conftest import Watch
from tests.eventstore.interposed import InterposedStore
from tests.examples import EUR, JPY, opening, some_request, usd

# Opening


@pytest.mark.parametrize("request_", [Request(), some_request()], ids=["without a request id", "with one"])
async def test_an_account_is_opened_for_its_owner(bank: WriteSide, request_: Request, clock: Watch) -> None:
    written = await accounts.open_account(bank, opening("DE89 3704"), request_)
    opened = written.resource.state
    assert (opened.owner_id, opened.account_number, opened.balance) == ("john", "DE89 3704", usd(100_000))
    assert opened.state is AccountState.ACTIVE
    assert written.resource.revision == 1
    assert (written.replayed, written.record_time) == (False, clock.now)
    assert await bank.accounts.load(opened.account_id) == written.resource


@pytest.mark.parametrize("deposit", [usd(0), Money(JPY, 7), usd(MAX_MINOR)], ids=str)
async def test_an_account_opens_with_what_is_paid_in(bank: WriteSide, deposit: Money) -> None:
    written = await accounts.open_account(bank, opening("1", deposit), Request())
    assert written.resource.state.balance == deposit


@pytest.mark.parametrize("request_", [Request(), some_request()], ids=["without a request id", "with one"])
@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (opening("1", owner_id="nobody"), OwnerNotFound),
        (opening("1", account_id="a-1"), AccountAlreadyExists),
        (opening("123456789"), AccountNumberTaken),
        (opening(" 123 456 789"), AccountNumberTaken),
        (opening("1", usd(-1)), InvalidFields),
        (opening("1", usd(MAX_MINOR + 1)), BalanceLimitExceeded),
        # The order of the checks: existence, the account's own rules, the owner, the number.
        (opening("123456789", account_id="a-1", owner_id="nobody"), AccountAlreadyExists),
        (opening("123456789", usd(-1), owner_id="nobody"), InvalidFields),
        (opening("123456789", owner_id="nobody"), OwnerNotFound),
    ],
)
async def test_a_refusal_that_can_be_foreseen_writes_nothing(
    bank: WriteSide, store: InterposedStore, command: OpenAccount, refusal: type[Exception], request_: Request
) -> None:
    with pytest.raises(refusal):
        await accounts.open_account(bank, command, request_)
    assert store.asked == []


async def test_the_refusal_of_a_taken_number_does_not_reveal_its_owner(bank: WriteSide) -> None:
    with pytest.raises(AccountNumberTaken) as refused:
        await accounts.open_account(bank, opening("12345-6789".replace("-", " ")), Request())
    assert refused.value.metadata == {"accountNumber": "12345 6789"}


async def test_every_event_of_an_account_names_its_owner(bank: WriteSide, store: InterposedStore) -> None:
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request())
    assert {event.metadata.owner_id for event in await store.read_stream("account-a-1")} == {"john"}


# Moving money


async def test_deposits_and_withdrawals_change_the_balance(bank: WriteSide) -> None:
    paid = await accounts.deposit(bank, Deposit("a-1", usd(50_000), "Salary deposit"), some_request())
    assert (paid.resource.state.balance, paid.resource.revision) == (usd(150_000), 2)
    with pytest.raises(InsufficientFunds) as refused:
        await accounts.withdraw(bank, Withdraw("a-1", usd(150_001), ""), some_request())
    assert "1500.00 USD" in refused.value.message
    taken = await accounts.withdraw(bank, Withdraw("a-1", usd(150_000), ""), some_request())
    assert (taken.resource.state.balance, taken.resource.revision) == (usd(0), 3)
    assert taken.resource.create_time < paid.record_time < taken.resource.update_time == taken.record_time


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (Deposit("nobody", usd(1), ""), AccountNotFound),
        (Withdraw("nobody", usd(1), ""), AccountNotFound),
        (Deposit("a-1", usd(0), ""), InvalidFields),
        (Deposit("a-1", Money(EUR, 1), ""), InvalidFields),
        (Deposit("a-1", usd(MAX_MINOR), ""), BalanceLimitExceeded),
        (Withdraw("a-1", usd(-1), ""), InvalidFields),
        (Withdraw("a-1", usd(100_001), ""), InsufficientFunds),
    ],
)
async def test_a_move_that_is_refused_writes_nothing(
    bank: WriteSide, store: InterposedStore, command: Deposit | Withdraw, refusal: type[Exception]
) -> None:
    for request in (Request(), some_request()):
        with pytest.raises(refusal):
            await (
                accounts.deposit(bank, command, request)
                if isinstance(command, Deposit)
                else accounts.withdraw(bank, command, request)
            )
    assert store.asked == []


async def test_50_deposits_at_once_on_one_account_all_count(bank: WriteSide) -> None:
    written = await asyncio.gather(*(accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request()) for _ in range(50)))
    assert sorted(one.resource.revision for one in written) == list(range(2, 52))
    assert max(one.resource.state.balance.minor for one in written) == 100_050


async def test_50_withdrawals_at_once_pay_no_more_than_the_balance(bank: WriteSide) -> None:
    outcomes = await asyncio.gather(
        *(accounts.withdraw(bank, Withdraw("a-1", usd(30_000), ""), Request()) for _ in range(50)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, InsufficientFunds) for outcome in outcomes].count(False) == 3


# expected_revision


async def test_a_move_at_the_expected_revision_is_made(bank: WriteSide) -> None:
    first = await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request(expected_revision=1))
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request(expected_revision=first.resource.revision))


@pytest.mark.parametrize("expected", [1, 3, 1_000])
async def test_a_move_at_another_revision_is_refused_with_both(
    bank: WriteSide, store: InterposedStore, expected: int
) -> None:
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request())
    asked = len(store.asked)
    with pytest.raises(RevisionMismatch) as refused:
        await accounts.withdraw(bank, Withdraw("a-1", usd(1), ""), Request(expected_revision=expected))
    assert refused.value.metadata == {
        "accountId": "a-1",
        "expectedRevision": str(expected),
        "actualRevision": "2",
    }
    assert len(store.asked) == asked


async def test_one_of_50_at_once_at_the_same_revision_is_made(bank: WriteSide) -> None:
    outcomes = await asyncio.gather(
        *(accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request(expected_revision=1)) for _ in range(50)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, RevisionMismatch) for outcome in outcomes].count(False) == 1


async def test_the_order_of_the_checks_is_existence_then_revision_then_rules(bank: WriteSide) -> None:
    with pytest.raises(AccountNotFound):
        await accounts.withdraw(bank, Withdraw("nobody", usd(0), ""), Request(expected_revision=5))
    with pytest.raises(RevisionMismatch):
        await accounts.withdraw(bank, Withdraw("a-1", usd(10**9), ""), Request(expected_revision=5))

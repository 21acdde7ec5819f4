"""Many at once: whatever order they arrive in, the bank ends as if they had come one after another."""

from __future__ import annotations

import asyncio

from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, john_doe, opening, refusal, request_id, usd

MANY = 50


async def test_one_request_sent_many_times_at_once_is_done_once(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    same = request_id()
    answers = await asyncio.gather(*(bank.deposit(account_id, "10", request_id=same) for _ in range(MANY)))

    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (MANY - 1)
    assert len({answer.event_id for answer in answers}) == 1
    assert {answer.account.revision for answer in answers} == {2}
    assert await bank.balance(account_id, answers[0].consistency_token) == "10.00 USD"
    assert len(await bank.account_events()) == 2


async def test_one_registration_sent_many_times_at_once_makes_one_person(bank: Caller) -> None:
    request = john_doe(request_id=request_id())
    answers = await asyncio.gather(*(bank.persons.RegisterPerson(request) for _ in range(MANY)))

    assert len({answer.person.person_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (MANY - 1)
    token = answers[0].consistency_token
    listed = await bank.persons.ListPersons(persons.ListPersonsRequest(consistency_token=token))
    assert len(listed.persons) == 1


async def test_one_opening_sent_many_times_at_once_makes_one_account(bank: Caller) -> None:
    owner_id = (await bank.register()).person.person_id
    request = opening(owner_id, request_id=request_id(), initial_deposit=usd("7"))
    answers = await asyncio.gather(*(bank.accounts.OpenAccount(request) for _ in range(MANY)))

    assert len({answer.account.account_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (MANY - 1)
    assert len(await bank.account_events()) == 1


async def test_one_of_many_openings_of_one_number_succeeds(bank: Caller) -> None:
    owners = [(await bank.register()).person.person_id for _ in range(5)]
    spellings = ["DE 12-34 AB", "de12-34ab", "DE12-34AB", "d e 1 2 - 3 4 a b"]
    calls = [
        bank.accounts.OpenAccount(opening(owners[i % 5], account_number=spellings[i % 4], request_id=request_id()))
        for i in range(MANY)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    opened = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(opened) == 1
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, AioRpcError)
            assert refusal(outcome).reason == "ACCOUNT_NUMBER_TAKEN"
    [event] = await bank.account_events()
    assert event.account_id == opened[0].account.account_id


async def test_many_deposits_to_one_account_all_count(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    answers = await asyncio.gather(*(bank.deposit(account_id, f"{cents / 100:.2f}") for cents in range(1, MANY + 1)))

    assert sorted(answer.account.revision for answer in answers) == list(range(2, MANY + 2))
    last = max(answers, key=lambda answer: answer.account.revision)
    expected = sum(range(1, MANY + 1))
    assert await bank.balance(account_id, last.consistency_token) == f"{expected // 100}.{expected % 100:02d} USD"


async def test_withdrawals_succeed_while_the_balance_covers_them(bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("10"))).account.account_id
    withdrawal = accounts.WithdrawRequest(account_id=account_id, amount=usd("1"))
    outcomes = await asyncio.gather(*(bank.accounts.Withdraw(withdrawal) for _ in range(MANY)), return_exceptions=True)

    succeeded = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(succeeded) == 10
    refused = [refusal(outcome).reason for outcome in outcomes if isinstance(outcome, AioRpcError)]
    assert refused == ["INSUFFICIENT_FUNDS"] * (MANY - 10)
    token = max(succeeded, key=lambda answer: answer.account.revision).consistency_token
    assert await bank.balance(account_id, token) == "0.00 USD"


async def test_one_of_many_writes_that_expect_the_same_revision_succeeds(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    outcomes = await asyncio.gather(
        *(bank.deposit(account_id, "1", expected_revision=1) for _ in range(MANY)), return_exceptions=True
    )

    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    refused = [refusal(outcome) for outcome in outcomes if isinstance(outcome, AioRpcError)]
    assert {told.reason for told in refused} == {"REVISION_MISMATCH"}
    assert {told.metadata["actualRevision"] for told in refused} == {"2"}


async def test_a_caller_that_gives_up_leaves_a_whole_write_or_none(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    named = [request_id() for _ in range(MANY)]

    async def give_up(name: str, seconds: float) -> None:
        request = accounts.DepositRequest(account_id=account_id, amount=usd("1"), request_id=name)
        try:
            await bank.accounts.Deposit(request, timeout=seconds)
        except AioRpcError as error:
            assert error.code().name == "DEADLINE_EXCEEDED"  # noqa: PT017 - both outcomes are right

    await asyncio.gather(*(give_up(name, 0.0005 * index) for index, name in enumerate(named)))
    again = [await bank.deposit(account_id, "1", request_id=name) for name in named]
    token = max(again, key=lambda answer: answer.account.revision).consistency_token
    assert await bank.balance(account_id, token) == f"{MANY}.00 USD"
    assert len(await bank.account_events()) == MANY + 1

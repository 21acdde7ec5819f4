"""The bank's first day, from a person's registration to the feed of all that happened, as one story."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import account_events_pb2 as account_events
from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1 import feed_pb2
from openbank.persons.v1 import person_events_pb2 as person_events
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, john_doe, refused, show, usd


async def test_john_doe_opens_an_account_is_paid_and_cannot_spend_more_than_he_has(bank: Caller) -> None:
    registered = await bank.persons.RegisterPerson(john_doe())
    john = registered.person
    assert (john.first_name, john.last_name, john.revision) == ("John", "Doe", 1)
    assert john.create_time == john.update_time == registered.record_time

    opened = await bank.accounts.OpenAccount(
        accounts.OpenAccountRequest(owner_id=john.person_id, account_number="123456789", initial_deposit=usd("1000.00"))
    )
    account = opened.account
    assert show(account.balance) == show(account.available_balance) == "1000.00 USD"
    assert account.state == account_pb2.ACCOUNT_STATE_ACTIVE

    paid = await bank.accounts.Deposit(
        accounts.DepositRequest(account_id=account.account_id, amount=usd("500.00"), description="Salary deposit")
    )
    assert show(paid.account.balance) == "1500.00 USD"
    assert paid.account.revision == 2
    assert paid.account.create_time == account.create_time

    too_much = accounts.WithdrawRequest(account_id=account.account_id, amount=usd("2000.00"))
    told = await refused(bank.accounts.Withdraw(too_much))
    assert told.code is StatusCode.FAILED_PRECONDITION
    assert told.reason == "INSUFFICIENT_FUNDS"
    assert told.metadata["availableBalance"] == "1500.00 USD"

    token = paid.consistency_token
    for found in (
        await bank.accounts.GetAccount(
            accounts.GetAccountRequest(account_id=account.account_id, consistency_token=token)
        ),
        await bank.accounts.GetAccountByNumber(
            accounts.GetAccountByNumberRequest(account_number=" 123 456 789 ", consistency_token=token)
        ),
    ):
        assert found.account == paid.account
    listed = await bank.accounts.ListAccountsByOwner(
        accounts.ListAccountsByOwnerRequest(owner_id=john.person_id, consistency_token=token)
    )
    assert list(listed.accounts) == [paid.account]

    watch = bank.accounts.WatchAccountEvents(
        accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    )
    responses = [response async for response in watch]
    assert responses[0].signal == feed_pb2.FEED_SIGNAL_CONFIRMED
    assert responses[-1].caught_up
    opening, salary = [event for response in responses for event in response.events]
    assert opening.type == account_events.ACCOUNT_EVENT_TYPE_ACCOUNT_OPENED
    assert opening.event_id == opened.event_id
    assert opening.account_opened.account_number == "123456789"
    assert salary.type == account_events.ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED
    assert salary.event_id == paid.event_id
    assert salary.record_time == paid.record_time
    assert salary.money_deposited.description == "Salary deposit"
    assert (salary.account_id, salary.owner_id, salary.revision) == (account.account_id, john.person_id, 2)
    assert show(salary.balance) == show(salary.money_deposited.balance_after) == "1500.00 USD"

    movements = await bank.accounts.ListAccountEvents(
        accounts.ListAccountEventsRequest(account_id=account.account_id, consistency_token=token)
    )
    assert list(movements.events) == [salary, opening]


async def test_a_person_moves_and_the_feed_has_both_addresses(bank: Caller) -> None:
    registered = await bank.register()
    john = registered.person
    home = person_pb2.Address(street="1 Elm St", city="Boston", country="USA")
    moved = await bank.persons.UpdateAddress(
        persons.UpdateAddressRequest(person_id=john.person_id, expected_revision=1, address=home)
    )
    assert moved.person.address == home
    assert moved.person.revision == 2

    watch = bank.persons.WatchPersonEvents(
        persons.WatchPersonEventsRequest(
            resume_token=registered.consistency_token, person_ids=[john.person_id], stop_when_caught_up=True
        )
    )
    [event] = [event async for response in watch for event in response.events]
    assert event.type == person_events.PERSON_EVENT_TYPE_PERSON_ADDRESS_UPDATED
    assert event.person_address_updated.old_address == john.address
    assert event.person_address_updated.new_address == home
    listed = await bank.persons.ListPersons(persons.ListPersonsRequest(consistency_token=moved.consistency_token))
    assert list(listed.persons) == [moved.person]


async def test_a_feed_continues_live_where_its_history_ends(bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("1"))).account.account_id
    watch = bank.accounts.WatchAccountEvents(
        accounts.WatchAccountEventsRequest(beginning=Empty(), account_ids=[account_id])
    )
    revisions: list[int] = []
    for amount in range(1, 6):
        await bank.deposit(account_id, str(amount))
        while not revisions or revisions[-1] <= amount:
            revisions += [event.revision for event in (await watch.read()).events]
    watch.cancel()
    assert revisions == [1, 2, 3, 4, 5, 6]


async def test_an_account_feed_is_filtered_by_account_owner_and_type(bank: Caller) -> None:
    john, jane = (await bank.register()).person.person_id, (await bank.register(first_name="Jane")).person.person_id
    one = (await bank.open(john)).account.account_id
    two = (await bank.open(john)).account.account_id
    three = (await bank.open(jane)).account.account_id
    for account_id in (one, two, three):
        await bank.deposit(account_id, "1")

    deposited, opened = (
        account_events.ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED,
        account_events.ACCOUNT_EVENT_TYPE_ACCOUNT_OPENED,
    )
    everything = [(one, 1), (two, 1), (three, 1), (one, 2), (two, 2), (three, 2)]
    assert await _watched(bank) == everything
    assert await _watched(bank, account_ids=[one, three]) == [(one, 1), (three, 1), (one, 2), (three, 2)]
    assert await _watched(bank, owner_ids=[jane]) == [(three, 1), (three, 2)]
    assert await _watched(bank, event_types=[deposited]) == [(one, 2), (two, 2), (three, 2)]
    assert await _watched(bank, event_types=[deposited, opened]) == everything
    assert await _watched(bank, owner_ids=[john], account_ids=[two, three], event_types=[opened]) == [(two, 1)]
    assert await _watched(bank, account_ids=["not-yet-there"]) == []


async def _watched(bank: Caller, **filters: list[object]) -> list[tuple[str, int]]:
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True, **filters)  # type: ignore[arg-type]
    watch = bank.accounts.WatchAccountEvents(request)
    return [(event.account_id, event.revision) async for response in watch for event in response.events]

"""What other systems see of the bank: the integration events, followed by one who knows their contract only."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.empty_pb2 import Empty

from openbank.common.v1 import feed_pb2
from openbank.integration.v1 import account_integration_events_pb2, person_integration_events_pb2
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, show, usd
from tests.servers import ServerProcess

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_the_events_of_a_first_day_are_delivered_in_order(bank: Caller) -> None:
    john = (await bank.register()).person
    opened = await bank.open(john.person_id, account_number="123456789", initial_deposit=usd("1000.00"))
    account_id = opened.account.account_id
    home = person_pb2.Address(street="1 Elm St", city="Boston", country="USA")
    await bank.persons.UpdateAddress(persons.UpdateAddressRequest(person_id=john.person_id, address=home))
    paid = await bank.deposit(account_id, "500.00", description="Salary deposit")

    registered, opening, moved, salary = await _watched(bank)
    assert [event.type for event in (registered, opening, moved, salary)] == [
        "person.registered.v1",
        "account.opened.v1",
        "person.address_updated.v1",
        "money.deposited.v1",
    ]
    assert [event.source for event in (registered, opening)] == ["openbank.persons", "openbank.accounts"]
    assert [_attribute(event, "sequence")[-1] for event in (registered, opening, moved, salary)] == list("1122")

    person = _unpacked(registered, person_integration_events_pb2.PersonRegistered)
    assert (person.person_id, person.full_name, person.email) == (john.person_id, "John Doe", john.email)
    assert person.timestamp == john.create_time == registered.attributes["time"].ce_timestamp
    account = _unpacked(opening, account_integration_events_pb2.AccountOpened)
    assert (account.owner_id, account.account_number) == (john.person_id, "123456789")
    assert _unpacked(moved, person_integration_events_pb2.PersonAddressUpdated).address.city == "Boston"
    deposit = _unpacked(salary, account_integration_events_pb2.MoneyDeposited)
    assert (deposit.account_id, show(deposit.amount), show(deposit.balance_after)) == (
        account_id,
        "500.00 USD",
        "1500.00 USD",
    )
    assert salary.id == paid.event_id
    assert _attribute(salary, "subject") == account_id


async def test_a_watch_is_filtered_by_person_account_and_type(bank: Caller) -> None:
    john, jane = (await bank.register()).person.person_id, (await bank.register(first_name="Jane")).person.person_id
    one, two = ((await bank.open(john)).account.account_id, (await bank.open(jane)).account.account_id)
    for account_id in (one, two):
        await bank.deposit(account_id, "1")

    opened, deposited, registered = "account.opened.v1", "money.deposited.v1", "person.registered.v1"
    everything = [
        (registered, john),
        (registered, jane),
        (opened, one),
        (opened, two),
        (deposited, one),
        (deposited, two),
    ]
    assert await _told(bank) == everything
    assert await _told(bank, person_ids=[john]) == everything[0::2]
    assert await _told(bank, account_ids=[two]) == [(opened, two), (deposited, two)]
    assert await _told(bank, event_types=[deposited, registered]) == everything[:2] + everything[4:]
    assert await _told(bank, person_ids=[jane], account_ids=[one, two], event_types=[opened]) == [(opened, two)]
    assert await _told(bank, person_ids=["not-yet-there"]) == []


async def test_a_token_of_any_answer_or_feed_is_a_place_in_this_one(bank: Caller) -> None:
    registered = await bank.register()
    opened = await bank.open(registered.person.person_id)
    paid = await bank.deposit(opened.account.account_id, "1")
    everything = [event.id for event in await _watched(bank)]
    assert everything == [registered.event_id, opened.event_id, paid.event_id]
    tokens = [registered.consistency_token, opened.consistency_token, paid.consistency_token]
    for count, token in enumerate(tokens, start=1):
        rest = await _watched(bank, resume_token=token)
        assert [event.id for event in rest] == everything[count:]


async def test_a_watch_continues_live_and_from_its_last_token_after_a_kill(process: ServerProcess) -> None:
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
        watch = bank.integration_events.WatchCloudEvents(WatchCloudEventsRequest(beginning=Empty()))
        confirmed = await watch.read()
        assert confirmed.signal == feed_pb2.FEED_SIGNAL_CONFIRMED
        seen, token = await _read(watch, 2, confirmed.resume_token)
        live = [await bank.deposit(account_id, "1") for _ in range(3)]
        more, token = await _read(watch, 3, token)
        assert more == [answer.event_id for answer in live]
        unseen = await bank.deposit(account_id, "2")
        await process.kill()
    await process.start()
    async with Caller(process.address) as bank:
        rest = [event.id for event in await _watched(bank, resume_token=token)]
        assert rest[-1] == unseen.event_id
        # What was there when the token was, and nothing else, comes no more.
        assert seen + more + rest == [event.id for event in await _watched(bank)]


async def test_the_trace_of_the_call_leads_to_its_event(bank: Caller) -> None:
    john = (await bank.register()).person.person_id
    moving = persons.UpdateAddressRequest(
        person_id=john, address=person_pb2.Address(street="1 Elm St", city="Boston", country="USA")
    )
    trace, order, no_trace = ("traceparent", TRACEPARENT), ("x-correlation-id", "order 7"), ("traceparent", "00-")
    for metadata in ([trace], [trace, order], [no_trace]):
        await bank.persons.UpdateAddress(moving, metadata=metadata)
    registered, traced, ordered, broken = await _watched(bank)
    assert _attribute(traced, "traceparent") == _attribute(traced, "correlationid") == TRACEPARENT
    assert _attribute(ordered, "correlationid") == "order 7"
    assert not {"", "00-"} & {_attribute(event, "correlationid") for event in (registered, broken)}
    assert all("traceparent" not in event.attributes for event in (registered, ordered, broken))


async def test_all_watchers_see_one_order(bank: Caller) -> None:
    async def live(account: str) -> None:
        for _ in range(20):
            await bank.deposit(account, "1")

    accounts = [(await bank.open()).account.account_id for _ in range(3)]
    await asyncio.gather(*(live(account) for account in accounts), *(bank.register() for _ in range(10)))
    one, other = await _watched(bank), await _watched(bank)
    assert [event.id for event in one] == [event.id for event in other]
    assert len({event.id for event in one}) == len(one) == 3 * (1 + 1 + 20) + 10
    for account in accounts:
        own = [int(_attribute(event, "sequence")) for event in one if _attribute(event, "subject") == account]
        assert own == list(range(1, 22))


async def _watched(bank: Caller, **request: Any) -> list[Any]:
    if "resume_token" not in request:
        request["beginning"] = Empty()
    watch = bank.integration_events.WatchCloudEvents(WatchCloudEventsRequest(stop_when_caught_up=True, **request))
    return [event async for response in watch for event in response.events]


async def _told(bank: Caller, **filters: list[str]) -> list[tuple[str, str]]:
    return [(event.type, _attribute(event, "subject")) for event in await _watched(bank, **filters)]


async def _read(watch: Any, count: int, token: str) -> tuple[list[str], str]:
    """The ids of so many events, and the token after them."""
    seen: list[str] = []
    while len(seen) < count:
        response = await watch.read()
        seen += [event.id for event in response.events]
        token = response.resume_token
    return seen, token


def _attribute(event: Any, name: str) -> str:
    return str(event.attributes[name].ce_string)


def _unpacked(event: Any, message: type[Any]) -> Any:
    data = message()
    assert event.proto_data.Unpack(data)
    return data

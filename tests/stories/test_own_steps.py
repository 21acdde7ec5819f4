"""What the bank does for itself, as a step of something larger, beside what its callers ask for: on every back end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands.write_side import WriteSide
from openbank.config import Settings, is_embedded
from openbank.domain import movements
from openbank.domain.clock import system_clock
from openbank.domain.movements import Deposit
from openbank.domain.request import Request
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.sqlite import SqliteEventStore
from tests.callers import Caller, request_id
from tests.examples import usd as money


async def step(settings: Settings, request: Request) -> bool:
    """A deposit of 1.00 USD on the account 1, while no bank is served; whether it had been made before."""
    store: Any
    if is_embedded(settings.event_store):
        store = SqliteEventStore(settings.data)
    else:
        store = await EventStoreDBEventStore.open(settings.event_store)
    try:
        bank = WriteSide(store, system_clock, 10)
        command = Deposit("1", money(100), "")
        written = await bank.accounts.execute("1", lambda state: (movements.deposit(state, command),), request)
        return written.replayed
    finally:
        await store.close()


async def test_a_step_and_a_call_with_the_same_id_are_both_made(settings: Settings) -> None:
    called_first, stepped_first = request_id(), request_id()
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="1")
        paid = await bank.deposit("1", "10", request_id=called_first)
    for id in (called_first, stepped_first):
        request = Request(UUID(id).bytes, causation_id=paid.event_id)
        assert [await step(settings, request) for _ in range(2)] == [False, True]
    async with serving(settings) as server, Caller(server.address) as bank:
        late = await bank.deposit("1", "20", request_id=stepped_first)
        assert (late.replayed, late.account.revision) == (False, 5)
        for sent, amount, was in ((called_first, "10", paid), (stepped_first, "20", late)):
            again = await bank.deposit("1", amount, request_id=sent)
            assert (again.replayed, again.event_id, again.account) == (True, was.event_id, was.account)
        listed = accounts.ListAccountEventsRequest(account_id="1", consistency_token=late.consistency_token)
        events = (await bank.accounts.ListAccountEvents(listed)).events
        assert await bank.balance("1", late.consistency_token) == "32.00 USD"
    # Newest first. A step has no request id to show, and says what caused it.
    assert [(event.request_id, event.causation_id) for event in events] == [
        (stepped_first, ""),
        ("", paid.event_id),
        ("", paid.event_id),
        (called_first, ""),
        ("", ""),
    ]

"""What each event changes."""

from __future__ import annotations

import pytest

from openbank.codec.events import decode
from openbank.domain.money import Money
from openbank.domain.person import Address
from openbank.domain.versioned import Versioned
from openbank.views.changes import AccountEventRecorded, AccountInserted, AccountUpdated, PersonInserted, PersonUpdated
from openbank.views.projections import project
from tests.eventstore.memory import MemoryStore
from tests.views.histories import ANN, USD, History, changes_of


@pytest.fixture
def history() -> History:
    return History(MemoryStore(step=10))


async def test_a_registration_inserts_the_person_at_its_position(history: History) -> None:
    await history.register("ann")
    [event] = await history.events()
    time = event.metadata.record_time
    assert changes_of([event]) == [PersonInserted(10, Versioned(ANN, 1, time, time))]


async def test_a_move_updates_the_address(history: History) -> None:
    await history.register("ann")
    await history.move("ann", "2 Side Street")
    _, event = await history.events()
    address = Address("2 Side Street", "Oslo", "0150", "Norway")
    assert changes_of([event]) == [PersonUpdated("ann", 2, event.metadata.record_time, address)]


async def test_an_opening_inserts_the_account_and_its_first_event(history: History) -> None:
    await history.open("1", "ann", "NO 93", Money(USD, 1000))
    [event] = await history.events()
    inserted, recorded = changes_of([event])
    assert isinstance(inserted, AccountInserted)
    account = inserted.account.state
    assert (account.account_id, account.owner_id, account.account_number) == ("1", "ann", "NO 93")
    assert account.balance == Money(USD, 1000)
    assert inserted.account.revision == 1
    assert recorded == AccountEventRecorded("1", event, moved=1000)


async def test_a_movement_updates_the_balance_and_leaves_the_rest(history: History) -> None:
    await history.open("1", "ann", deposit=Money(USD, 1000))
    await history.deposit("1", 500)
    await history.withdraw("1", 300)
    _, deposited, withdrawn = await history.events()
    assert changes_of([deposited]) == [
        AccountUpdated("1", 2, deposited.metadata.record_time, Money(USD, 1500), Money(USD, 1500)),
        AccountEventRecorded("1", deposited, moved=500),
    ]
    left = Money(USD, 1200)
    assert changes_of([withdrawn])[0] == AccountUpdated("1", 3, withdrawn.metadata.record_time, left, left)


@pytest.mark.parametrize("stream", ["account-1", "request-1"])
async def test_an_event_on_a_stream_that_cannot_hold_it_is_refused(history: History, stream: str) -> None:
    await history.register("ann")
    [event] = await history.events()
    payload = decode(event.type, event.data, "ann")
    with pytest.raises(ValueError, match=f"{stream} cannot hold {event.type}"):
        project(event._replace(stream=stream), payload)


async def test_an_event_of_an_account_is_not_one_of_a_person(history: History) -> None:
    await history.open("1", "ann")
    [event] = await history.events()
    with pytest.raises(ValueError, match=f"person-1 cannot hold {event.type}"):
        project(event._replace(stream="person-1"), decode(event.type, event.data, "1"))

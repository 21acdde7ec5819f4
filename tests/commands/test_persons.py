"""Persons are registered and move house."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openbank.commands import persons
from openbank.commands.write_side import WriteSide
from openbank.domain.clock import day_of
from openbank.domain.errors import InvalidFields, PersonAlreadyExists, PersonNotFound, RevisionMismatch
from openbank.domain.person import RegisterPerson, UpdateAddress
from openbank.domain.request import Request
from tests.commands.conftest import Watch
from tests.eventstore.interposed import InterposedStore
from tests.examples import HOME, OFFICE, john, some_request


async def test_a_person_is_registered_under_an_id_of_the_banks_own(bank: WriteSide, clock: Watch) -> None:
    written = await persons.register_person(bank, RegisterPerson(john(person_id="")), Request())
    person = written.resource.state
    assert person == john(person_id=person.person_id)
    assert 1 <= len(person.person_id) <= 64
    assert written.resource[1:] == (1, written.record_time, written.record_time)
    assert (written.record_time, written.replayed) == (clock.now, False)
    assert await bank.persons.load(person.person_id) == written.resource


async def test_a_person_may_come_with_an_id(bank: WriteSide) -> None:
    written = await persons.register_person(bank, RegisterPerson(john(person_id="jane-2")), some_request())
    assert written.resource.state.person_id == "jane-2"


@pytest.mark.parametrize("request_", [Request(), some_request()], ids=["without a request id", "with one"])
async def test_an_id_that_is_taken_is_refused(bank: WriteSide, request_: Request) -> None:
    with pytest.raises(PersonAlreadyExists):
        await persons.register_person(bank, RegisterPerson(john(first_name="Jane")), request_)


async def test_the_id_that_the_bank_makes_follows_from_the_request_id(bank: WriteSide, store: InterposedStore) -> None:
    request = some_request()
    written = await persons.register_person(bank, RegisterPerson(john(person_id="")), request)
    again = await persons.register_person(bank, RegisterPerson(john(person_id="")), request)
    assert again.resource.state.person_id == written.resource.state.person_id


async def test_a_person_born_today_by_the_banks_clock_is_refused_and_nothing_is_written(
    bank: WriteSide, store: InterposedStore, clock: Watch
) -> None:
    today = day_of(clock.now)
    for request in (Request(), some_request()):
        with pytest.raises(InvalidFields):
            await persons.register_person(bank, RegisterPerson(john(person_id="", date_of_birth=today)), request)
    assert store.asked == []
    yesterday = john(person_id="", date_of_birth=today - timedelta(1))
    await persons.register_person(bank, RegisterPerson(yesterday), Request())


async def test_a_person_moves(bank: WriteSide, clock: Watch) -> None:
    before = await bank.persons.load("john")
    assert before is not None
    written = await persons.update_address(bank, UpdateAddress("john", OFFICE), Request())
    assert written.resource.state == john(address=OFFICE)
    assert written.resource.revision == 2
    assert (written.resource.create_time, written.resource.update_time) == (before.create_time, clock.now)
    back = await persons.update_address(bank, UpdateAddress("john", HOME), Request(expected_revision=2))
    assert back.resource.state == john()


async def test_an_unknown_person_does_not_move(bank: WriteSide, store: InterposedStore) -> None:
    for request in (Request(), some_request(), Request(expected_revision=7)):
        with pytest.raises(PersonNotFound):
            await persons.update_address(bank, UpdateAddress("nobody", OFFICE), request)
    assert store.asked == []


async def test_a_move_decided_on_an_older_person_is_refused_with_both_revisions(bank: WriteSide) -> None:
    await persons.update_address(bank, UpdateAddress("john", OFFICE), Request(expected_revision=1))
    with pytest.raises(RevisionMismatch) as refused:
        await persons.update_address(bank, UpdateAddress("john", HOME), Request(expected_revision=1))
    assert refused.value.metadata == {"personId": "john", "expectedRevision": "1", "actualRevision": "2"}

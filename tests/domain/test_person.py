"""A person is registered once, and then has the last address given."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.domain import person
from openbank.domain.clock import day_of
from openbank.domain.errors import InvalidFields, PersonAlreadyExists, PersonNotFound
from openbank.domain.person import (
    Address,
    Person,
    PersonAddressUpdated,
    PersonRegistered,
    RegisterPerson,
    UpdateAddress,
)
from tests.examples import HOME, JOHN, NOON, OFFICE, TODAY, john

ADDRESSES = st.builds(Address, street=st.text(), city=st.text(), postal_code=st.text(), country=st.text())


def test_registering_makes_the_person_given() -> None:
    registered = person.register(None, RegisterPerson(JOHN), TODAY)
    assert registered == PersonRegistered(JOHN)
    assert person.apply(None, registered) == JOHN


def test_a_person_is_registered_once() -> None:
    with pytest.raises(PersonAlreadyExists):
        person.register(JOHN, RegisterPerson(john(first_name="Jane")), TODAY)


def test_an_existing_person_is_reported_before_faults_of_the_fields() -> None:
    with pytest.raises(PersonAlreadyExists):
        person.register(JOHN, RegisterPerson(john(first_name="")), TODAY)


@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_a_name_is_required(field: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        person.register(None, RegisterPerson(john(**{field: ""})), TODAY)
    assert [violation[:2] for violation in refused.value.violations] == [(field, "FIELD_REQUIRED")]


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(InvalidFields) as refused:
        person.register(None, RegisterPerson(john(first_name="", last_name="", date_of_birth=TODAY)), TODAY)
    assert [violation.field for violation in refused.value.violations] == ["first_name", "last_name", "date_of_birth"]


@pytest.mark.parametrize("days", [0, 1, 36_500])
def test_a_person_cannot_be_born_today_or_later(days: int) -> None:
    with pytest.raises(InvalidFields) as refused:
        person.register(None, RegisterPerson(john(date_of_birth=TODAY + timedelta(days))), TODAY)
    assert refused.value.violations[0][:2] == ("date_of_birth", "DATE_NOT_IN_PAST")


def test_a_person_may_be_born_yesterday() -> None:
    baby = john(date_of_birth=TODAY - timedelta(1))
    assert person.register(None, RegisterPerson(baby), TODAY).person == baby


def test_today_is_the_day_in_utc() -> None:
    assert day_of(NOON) == TODAY
    midnight = NOON + 12 * 3600 * 1_000_000
    assert day_of(midnight - 1) == TODAY
    assert day_of(midnight) == date(2024, 3, 1)


def test_an_address_is_replaced_as_a_whole_and_the_event_has_the_old_one() -> None:
    updated = person.update_address(JOHN, UpdateAddress("john", OFFICE))
    assert updated == PersonAddressUpdated(old_address=HOME, new_address=OFFICE)
    assert person.apply(JOHN, updated) == john(address=OFFICE)


def test_the_same_address_again_is_an_event_too() -> None:
    assert person.update_address(JOHN, UpdateAddress("john", HOME)) == PersonAddressUpdated(HOME, HOME)


def test_the_address_of_an_unknown_person_cannot_be_updated() -> None:
    with pytest.raises(PersonNotFound):
        person.update_address(None, UpdateAddress("john", OFFICE))


def test_an_address_before_its_person_does_not_follow() -> None:
    with pytest.raises(ValueError, match="before its person"):
        person.apply(None, PersonAddressUpdated(HOME, OFFICE))


@given(st.lists(ADDRESSES))
def test_a_history_of_addresses_ends_with_the_last_and_each_knows_the_one_before(addresses: list[Address]) -> None:
    state: Person = person.apply(None, person.register(None, RegisterPerson(JOHN), TODAY))
    for address in addresses:
        updated = person.update_address(state, UpdateAddress("john", address))
        assert updated.old_address == state.address
        state = person.apply(state, updated)
    assert state == john(address=[HOME, *addresses][-1])

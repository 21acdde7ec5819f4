"""The event types of persons.

A new one is a row in ROWS, with its two functions.
"""

from __future__ import annotations

from datetime import date

from openbank.codec.event_type import EventType
from openbank.common.v1 import date_pb2
from openbank.domain.person import Address, Gender, Person, PersonAddressUpdated, PersonRegistered
from openbank.persons.v1 import person_events_pb2 as messages
from openbank.persons.v1 import person_pb2


def _address(address: Address) -> person_pb2.Address:
    return person_pb2.Address(
        street=address.street, city=address.city, postal_code=address.postal_code, country=address.country
    )


def _from_address(message: person_pb2.Address) -> Address:
    return Address(message.street, message.city, message.postal_code, message.country)


def _registered(event: PersonRegistered) -> messages.PersonRegistered:
    person = event.person
    born = person.date_of_birth
    return messages.PersonRegistered(
        first_name=person.first_name,
        last_name=person.last_name,
        nationality=person.nationality,
        gender=person_pb2.Gender.Value(f"GENDER_{person.gender.value}"),
        date_of_birth=date_pb2.Date(year=born.year, month=born.month, day=born.day),
        address=_address(person.address),
        email=person.email,
    )


def _from_registered(message: messages.PersonRegistered, person_id: str) -> PersonRegistered:
    born = message.date_of_birth
    return PersonRegistered(
        Person(
            person_id,
            message.first_name,
            message.last_name,
            message.nationality,
            Gender(person_pb2.Gender.Name(message.gender).removeprefix("GENDER_")),
            date(born.year, born.month, born.day),
            _from_address(message.address),
            message.email,
        )
    )


def _address_updated(event: PersonAddressUpdated) -> messages.PersonAddressUpdated:
    return messages.PersonAddressUpdated(
        old_address=_address(event.old_address), new_address=_address(event.new_address)
    )


def _from_address_updated(message: messages.PersonAddressUpdated, _: str) -> PersonAddressUpdated:
    return PersonAddressUpdated(_from_address(message.old_address), _from_address(message.new_address))


ROWS = (
    EventType(
        PersonRegistered,
        messages.PersonRegistered,
        _registered,
        _from_registered,
        published_as="person.registered.v1",
    ),
    EventType(
        PersonAddressUpdated,
        messages.PersonAddressUpdated,
        _address_updated,
        _from_address_updated,
        published_as="person.address_updated.v1",
    ),
)

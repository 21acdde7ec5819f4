"""A person: who they are and where they live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from typing import assert_never

from openbank.domain.errors import DoesNotFollow, PersonAlreadyExists, PersonNotFound
from openbank.domain.fields import Fields


class Gender(Enum):
    MALE = "MALE"
    FEMALE = "FEMALE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Address:
    street: str
    city: str
    postal_code: str
    country: str


@dataclass(frozen=True, slots=True)
class Person:
    person_id: str
    first_name: str
    last_name: str
    nationality: str
    gender: Gender
    date_of_birth: date
    address: Address
    email: str


@dataclass(frozen=True, slots=True)
class PersonRegistered:
    person: Person

    @property
    def address_after(self) -> Address:
        return self.person.address


@dataclass(frozen=True, slots=True)
class PersonAddressUpdated:
    old_address: Address
    new_address: Address

    @property
    def address_after(self) -> Address:
        return self.new_address


PersonEvent = PersonRegistered | PersonAddressUpdated
"""Every event states what it sets: `address_after`."""


@dataclass(frozen=True, slots=True)
class RegisterPerson:
    person: Person


@dataclass(frozen=True, slots=True)
class UpdateAddress:
    person_id: str
    address: Address


def register(person: Person | None, command: RegisterPerson, today: date) -> PersonRegistered:
    """Raises PersonAlreadyExists; InvalidFields for a missing name or a date of birth that is not in the past."""
    if person is not None:
        raise PersonAlreadyExists(person.person_id)
    new = command.person
    fields = Fields()
    for name, value in (("first_name", new.first_name), ("last_name", new.last_name)):
        if not value:
            fields.refuse(name, "FIELD_REQUIRED", "is required")
    fields.past_date("date_of_birth", new.date_of_birth, today)
    fields.check()
    return PersonRegistered(new)


def update_address(person: Person | None, command: UpdateAddress) -> PersonAddressUpdated:
    """The whole new address, also when it is the old one: the caller asked for an event and gets one.

    Raises PersonNotFound.
    """
    if person is None:
        raise PersonNotFound(command.person_id)
    return PersonAddressUpdated(person.address, command.address)


def check_follows(begun: bool, event: PersonEvent) -> None:
    """Whether `event` can come after other events of its person, or be the first one. Raises DoesNotFollow."""
    match event:
        case PersonRegistered():
            if begun:
                raise DoesNotFollow("it registers a person who is registered")
        case PersonAddressUpdated():
            if not begun:
                raise DoesNotFollow("it comes before the person was registered")
        case _:
            assert_never(event)


def apply(person: Person | None, event: PersonEvent) -> Person:
    """The person after `event`. Raises ValueError for a history that cannot be, which is a bug or a damaged store."""
    if isinstance(event, PersonRegistered):
        return event.person
    if person is None:
        raise ValueError("an event comes before its person was registered")
    return replace(person, address=event.address_after)

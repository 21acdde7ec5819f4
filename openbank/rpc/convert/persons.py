"""Persons and their events."""

from __future__ import annotations

from datetime import date

from openbank.domain import fields as limits
from openbank.domain.clock import day_of
from openbank.domain.fields import Fields
from openbank.domain.person import Address, Gender, Person, RegisterPerson, UpdateAddress
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.persons.v1 import person_pb2
from openbank.persons.v1.person_events_pb2 import PersonEvent, PersonEventType
from openbank.persons.v1.persons_service_pb2 import RegisterPersonRequest, UpdateAddressRequest
from openbank.rpc.call import Call
from openbank.rpc.convert.events import Events
from openbank.rpc.convert.values import fill_date, fill_time, read_date, read_request, read_request_at_revision

EVENTS = Events(PersonEvent, PersonEventType)

_GENDERS = {
    person_pb2.GENDER_MALE: Gender.MALE,
    person_pb2.GENDER_FEMALE: Gender.FEMALE,
    person_pb2.GENDER_OTHER: Gender.OTHER,
}
_GENDER_VALUES = {gender: value for value, gender in _GENDERS.items()}


def read_register_person(message: RegisterPersonRequest, call: Call) -> tuple[RegisterPerson, Request]:
    fields = Fields()
    request = read_request(fields, message, call)
    person = Person(
        fields.identifier("person_id", message.person_id, required=False),
        fields.text("first_name", message.first_name, limits.NAME_LENGTH_MAX, required=True),
        fields.text("last_name", message.last_name, limits.NAME_LENGTH_MAX, required=True),
        fields.text("nationality", message.nationality, limits.NATIONALITY_LENGTH_MAX),
        _read_gender(fields, message.gender),
        _read_date_of_birth(fields, message, day_of(call.method.clock())),
        _read_address(fields, message),
        fields.text("email", message.email, limits.EMAIL_LENGTH_MAX),
    )
    return RegisterPerson(person), fields.settle(request)


def read_update_address(message: UpdateAddressRequest, call: Call) -> tuple[UpdateAddress, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = UpdateAddress(fields.identifier("person_id", message.person_id), _read_address(fields, message))
    return command, fields.settle(request)


def fill_person(message: person_pb2.Person, person: Versioned[Person]) -> None:
    state = person.state
    message.person_id = state.person_id
    message.first_name = state.first_name
    message.last_name = state.last_name
    message.nationality = state.nationality
    message.gender = _GENDER_VALUES[state.gender]
    message.email = state.email
    fill_date(message.date_of_birth, state.date_of_birth)
    address = message.address
    address.street = state.address.street
    address.city = state.address.city
    address.postal_code = state.address.postal_code
    address.country = state.address.country
    fill_time(message.create_time, person.create_time)
    fill_time(message.update_time, person.update_time)
    message.revision = person.revision


def encode_person_event(event: RecordedEvent, shows_actor: bool) -> bytes:
    """The event as it stands in a response that has nothing else."""
    return EVENTS.encode(event, shows_actor)


def _read_gender(fields: Fields, value: person_pb2.Gender.ValueType) -> Gender:
    if value == person_pb2.GENDER_UNSPECIFIED:
        fields.unreadable("gender", "FIELD_REQUIRED", "is required")
    elif value not in _GENDERS:
        fields.unreadable("gender", "UNKNOWN_ENUM_VALUE", f"unknown gender value {value}")
    return _GENDERS.get(value, Gender.OTHER)


def _read_date_of_birth(fields: Fields, message: RegisterPersonRequest, today: date) -> date:
    day = None
    if message.HasField("date_of_birth"):
        day = read_date(fields, "date_of_birth", message.date_of_birth)
    else:
        fields.unreadable("date_of_birth", "FIELD_REQUIRED", "is required")
    return fields.past_date("date_of_birth", day, today)


def _read_address(fields: Fields, message: RegisterPersonRequest | UpdateAddressRequest) -> Address:
    if not message.HasField("address"):
        fields.unreadable("address", "FIELD_REQUIRED", "is required")
        return Address("", "", "", "")
    address = message.address
    return Address(
        fields.text("address.street", address.street, limits.STREET_LENGTH_MAX, required=True),
        fields.text("address.city", address.city, limits.CITY_LENGTH_MAX, required=True),
        fields.text("address.postal_code", address.postal_code, limits.POSTAL_CODE_LENGTH_MAX),
        fields.text("address.country", address.country, limits.COUNTRY_LENGTH_MAX, required=True),
    )

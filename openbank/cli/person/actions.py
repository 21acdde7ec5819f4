"""`openbank person`: the calls."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.cli.bank import RemoteBank
from openbank.cli.messages import change_of, creation_of
from openbank.cli.output.printout import Printout, one
from openbank.common.v1.date_pb2 import Date
from openbank.persons.v1 import persons_service_pb2 as messages
from openbank.persons.v1.person_pb2 import Address, Gender
from openbank.persons.v1.persons_service_pb2_grpc import PersonsServiceStub

COLUMNS = {
    "PERSON": "person_id",
    "FIRST NAME": "first_name",
    "LAST NAME": "last_name",
    "EMAIL": "email",
    "CITY": "address.city",
    "COUNTRY": "address.country",
}


def _register(bank: RemoteBank, flags: Namespace) -> Printout:
    born = flags.date_of_birth
    request = creation_of(
        messages.RegisterPersonRequest,
        flags,
        person_id=flags.id,
        first_name=flags.first_name,
        last_name=flags.last_name,
        nationality=flags.nationality,
        gender=Gender.Value(f"GENDER_{flags.gender.upper()}"),
        date_of_birth=Date(year=born.year, month=born.month, day=born.day) if born else None,
        address=_address(flags),
        email=flags.email,
    )
    return one(bank.change(_stub(bank).RegisterPerson, request), "person")


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.GetPersonRequest(person_id=flags.person, consistency_token=flags.consistency_token)
    return one(bank.ask(_stub(bank).GetPerson, request), "person")


def _update_address(bank: RemoteBank, flags: Namespace) -> Printout:
    request = change_of(messages.UpdateAddressRequest, flags, person_id=flags.person, address=_address(flags))
    return one(bank.change(_stub(bank).UpdateAddress, request), "person")


def _list(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ListPersonsRequest(consistency_token=flags.consistency_token)
    method = _stub(bank).ListPersons
    return bank.listing(method, request, messages.ListPersonsResponse, "persons", COLUMNS, flags.limit)


def _address(flags: Namespace) -> Address:
    return Address(street=flags.street, city=flags.city, postal_code=flags.postal_code, country=flags.country)


def _stub(bank: RemoteBank) -> Any:
    return PersonsServiceStub(bank.channel)


ACTIONS = {"register": _register, "show": _show, "update-address": _update_address, "list": _list}

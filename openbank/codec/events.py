"""Domain events to their stored form and back: the one place, beside `rpc`, that knows the protobuf messages.

A stored type is a name from the table below, never a Python path: code may move, history may not. The payload is the
event's protobuf message; readers ignore fields they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from openbank.accounts.v1 import account_events_pb2 as accounts
from openbank.codec import canonical_json
from openbank.common.v1 import date_pb2, money_pb2
from openbank.domain.account import (
    AccountEvent,
    AccountOpened,
    MoneyDeposited,
    MoneyWithdrawn,
    OpenAccount,
)
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.money import MAX_EXPONENT, Currency, Money, from_units, to_units
from openbank.domain.person import (
    Address,
    Gender,
    Person,
    PersonAddressUpdated,
    PersonEvent,
    PersonRegistered,
)
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.persons.v1 import person_events_pb2 as persons
from openbank.persons.v1 import person_pb2
from openbank.storage.v1 import account_number_pb2, request_pb2

PREFIX = "openbank."
"""Types with another beginning are other programs': skipped and counted, never refused."""

InternalEvent = RequestClaimed | AccountNumberReserved
DomainEvent = PersonEvent | AccountEvent | InternalEvent
Movement = TypeVar("Movement", MoneyDeposited, MoneyWithdrawn)


class UnknownEventType(Exception):
    """A type of the bank's that this version does not know: a newer version wrote it."""


class UndecodableEvent(Exception):
    """A stored payload that is not its type's message. Says nothing of its content, which may be a person's data."""


class _Codec(NamedTuple):
    message: type[Message]
    encode: Callable[[Any], Message]
    decode: Callable[[Any, str], DomainEvent]
    """From the message and the id in the stream's name, which the payload of a first event does not repeat."""


def encode(event: DomainEvent) -> tuple[str, bytes]:
    """An event's stored type, and its payload in binary."""
    name = _NAMES[type(event)]
    # No message has a map, the one thing whose order could differ from time to time.
    return name, _CODECS[name].encode(event).SerializeToString()


def decode(type_name: str, data: bytes, aggregate_id: str) -> DomainEvent:
    """The inverse of `encode`. `aggregate_id` is the id in the stream's name.

    Raises UnknownEventType and UndecodableEvent.
    """
    codec = _CODECS.get(type_name)
    if codec is None:
        raise UnknownEventType(type_name)
    try:
        return codec.decode(codec.message.FromString(data), aggregate_id)
    except (DecodeError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None


def to_json(type_name: str, data: bytes) -> bytes:
    """The payload in protobuf's canonical JSON mapping, with the names of the proto files."""
    return canonical_json.to_json(_message(type_name).FromString(data)).encode()


def from_json(type_name: str, json: bytes) -> bytes:
    """The inverse of `to_json`; fields that this version does not know are left out."""
    try:
        message = canonical_json.from_json(json, _message(type_name))
    except (json_format.ParseError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None
    return message.SerializeToString(deterministic=True)


def from_whole_json(type_name: str, json: bytes) -> bytes:
    """As `from_json`, but a field or value that this version does not know is UndecodableEvent, and not left out."""
    try:
        message = json_format.Parse(json, _message(type_name)())
    except (json_format.ParseError, ValueError) as error:
        raise UndecodableEvent(f"{type_name}: {type(error).__name__}") from None
    return message.SerializeToString(deterministic=True)


def is_whole_as_json(type_name: str, data: bytes) -> bool:
    """Whether the JSON mapping says all that a payload in binary holds: no field is unknown to this version."""
    try:
        return from_whole_json(type_name, to_json(type_name, data)) == data
    except (UnknownEventType, UndecodableEvent, DecodeError):
        return False


def is_ours(type_name: str) -> bool:
    return type_name.startswith(PREFIX)


def place_after(events: Sequence[RecordedEvent], after: LogPosition) -> LogPosition:
    """The log up to the last of `events`, which follow `after`: named by the last one that is ours."""
    if not events:
        return after
    named = next((event.place for event in reversed(events) if is_ours(event.type)), after)
    return named._replace(position=events[-1].position)


def _message(type_name: str) -> type[Message]:
    if type_name not in _CODECS:
        raise UnknownEventType(type_name)
    return _CODECS[type_name].message


def _money(money: Money) -> money_pb2.Money:
    units, nanos = to_units(money)
    return money_pb2.Money(currency_code=money.currency.code, units=units, nanos=nanos)


def _from_money(message: money_pb2.Money, exponent: int) -> Money:
    return from_units(_currency(message.currency_code, exponent), message.units, message.nanos)


def _currency(code: str, exponent: int) -> Currency:
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ValueError(f"a currency with {exponent} decimals")
    return Currency(code, exponent)


def _check_currency(message: money_pb2.Money, code: str) -> None:
    """A payload is published as it is stored, so what it says twice must be the same."""
    if message.currency_code != code:
        raise ValueError("two currencies")


def _address(address: Address) -> person_pb2.Address:
    return person_pb2.Address(
        street=address.street, city=address.city, postal_code=address.postal_code, country=address.country
    )


def _from_address(message: person_pb2.Address) -> Address:
    return Address(message.street, message.city, message.postal_code, message.country)


def _registered(event: PersonRegistered) -> persons.PersonRegistered:
    person = event.person
    born = person.date_of_birth
    return persons.PersonRegistered(
        first_name=person.first_name,
        last_name=person.last_name,
        nationality=person.nationality,
        gender=person_pb2.Gender.Value(f"GENDER_{person.gender.value}"),
        date_of_birth=date_pb2.Date(year=born.year, month=born.month, day=born.day),
        address=_address(person.address),
        email=person.email,
    )


def _from_registered(message: persons.PersonRegistered, person_id: str) -> PersonRegistered:
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


def _address_updated(event: PersonAddressUpdated) -> persons.PersonAddressUpdated:
    return persons.PersonAddressUpdated(
        old_address=_address(event.old_address), new_address=_address(event.new_address)
    )


def _from_address_updated(message: persons.PersonAddressUpdated, _: str) -> PersonAddressUpdated:
    return PersonAddressUpdated(_from_address(message.old_address), _from_address(message.new_address))


def _opened(event: AccountOpened) -> accounts.AccountOpened:
    return accounts.AccountOpened(
        owner_id=event.owner_id,
        account_number=event.account_number,
        currency_code=event.initial_deposit.currency.code,
        initial_deposit=_money(event.initial_deposit),
        balance_after=_money(event.balance_after),
        currency_exponent=event.initial_deposit.currency.exponent,
    )


def _from_opened(message: accounts.AccountOpened, account_id: str) -> AccountOpened:
    deposit = _from_money(message.initial_deposit, message.currency_exponent)
    if message.balance_after != message.initial_deposit:
        raise ValueError("another balance than the initial deposit")
    _check_currency(message.initial_deposit, message.currency_code)
    return AccountOpened(account_id, message.owner_id, message.account_number, deposit)


def _deposited(event: MoneyDeposited) -> accounts.MoneyDeposited:
    return _moved(event, accounts.MoneyDeposited())


def _withdrawn(event: MoneyWithdrawn) -> accounts.MoneyWithdrawn:
    return _moved(event, accounts.MoneyWithdrawn())


Moved = TypeVar("Moved", accounts.MoneyDeposited, accounts.MoneyWithdrawn)


def _moved(event: MoneyDeposited | MoneyWithdrawn, message: Moved) -> Moved:
    """By assignment: building the nested amounts from keywords takes five times as long, on the hottest path."""
    code = event.amount.currency.code
    amount, balance = message.amount, message.balance_after
    amount.currency_code = balance.currency_code = code
    amount.units, amount.nanos = to_units(event.amount)
    balance.units, balance.nanos = to_units(event.balance_after)
    message.description = event.description
    message.currency_exponent = event.amount.currency.exponent
    return message


def _from_moved(event: type[Movement]) -> Callable[[Any, str], Movement]:
    def decode_moved(message: accounts.MoneyDeposited | accounts.MoneyWithdrawn, _: str) -> Movement:
        currency = _currency(message.amount.currency_code, message.currency_exponent)
        _check_currency(message.balance_after, currency.code)
        return event(
            from_units(currency, message.amount.units, message.amount.nanos),
            message.description,
            from_units(currency, message.balance_after.units, message.balance_after.nanos),
        )

    return decode_moved


def _claimed(event: RequestClaimed) -> request_pb2.RequestClaimed:
    return request_pb2.RequestClaimed(
        rpc=event.rpc,
        request_hash=event.request_hash,
        aggregate_id=event.aggregate_id,
        account_number=event.account_number,
    )


def _from_claimed(message: request_pb2.RequestClaimed, _: str) -> RequestClaimed:
    return RequestClaimed(message.rpc, message.request_hash, message.aggregate_id, message.account_number)


def _reserved(event: AccountNumberReserved) -> account_number_pb2.AccountNumberReserved:
    command = event.command
    message = account_number_pb2.AccountNumberReserved(
        account_id=command.account_id,
        owner_id=command.owner_id,
        account_number=command.account_number,
        currency_code=command.initial_deposit.currency.code,
        currency_exponent=command.initial_deposit.currency.exponent,
        initial_deposit=_money(command.initial_deposit),
        request_id=event.request_id,
        request_hash=event.request_hash,
        correlation_id=event.correlation_id,
    )
    message.reserve_time.FromMicroseconds(event.reserve_time)
    return message


def _from_reserved(message: account_number_pb2.AccountNumberReserved, _: str) -> AccountNumberReserved:
    deposit = _from_money(message.initial_deposit, message.currency_exponent)
    _check_currency(message.initial_deposit, message.currency_code)
    return AccountNumberReserved(
        OpenAccount(message.account_id, message.owner_id, message.account_number, deposit),
        message.request_id,
        message.request_hash,
        message.correlation_id,
        message.reserve_time.ToMicroseconds(),
    )


_CODECS: dict[str, _Codec] = {
    "openbank.persons.v1.PersonRegistered": _Codec(persons.PersonRegistered, _registered, _from_registered),
    "openbank.persons.v1.PersonAddressUpdated": _Codec(
        persons.PersonAddressUpdated, _address_updated, _from_address_updated
    ),
    "openbank.accounts.v1.AccountOpened": _Codec(accounts.AccountOpened, _opened, _from_opened),
    "openbank.accounts.v1.MoneyDeposited": _Codec(accounts.MoneyDeposited, _deposited, _from_moved(MoneyDeposited)),
    "openbank.accounts.v1.MoneyWithdrawn": _Codec(accounts.MoneyWithdrawn, _withdrawn, _from_moved(MoneyWithdrawn)),
    "openbank.storage.v1.RequestClaimed": _Codec(request_pb2.RequestClaimed, _claimed, _from_claimed),
    "openbank.storage.v1.AccountNumberReserved": _Codec(
        account_number_pb2.AccountNumberReserved, _reserved, _from_reserved
    ),
}
TYPES = tuple(_CODECS)
_NAMES: dict[type, str] = {
    PersonRegistered: "openbank.persons.v1.PersonRegistered",
    PersonAddressUpdated: "openbank.persons.v1.PersonAddressUpdated",
    AccountOpened: "openbank.accounts.v1.AccountOpened",
    MoneyDeposited: "openbank.accounts.v1.MoneyDeposited",
    MoneyWithdrawn: "openbank.accounts.v1.MoneyWithdrawn",
    RequestClaimed: "openbank.storage.v1.RequestClaimed",
    AccountNumberReserved: "openbank.storage.v1.AccountNumberReserved",
}

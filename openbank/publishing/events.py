"""Domain events to integration events: one pure function for each event type that is published.

Which types those are, and under which names, the rows of `codec` say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from openbank.codec import events as codec
from openbank.common.v1.money_pb2 import Money as MoneyMessage
from openbank.domain import account, person
from openbank.domain.money import Money, to_units
from openbank.eventstore.port import RecordedEvent, show_uuid
from openbank.eventstore.streams import ACCOUNT, PERSON, split
from openbank.integration.v1 import account_integration_events_pb2, person_integration_events_pb2
from openbank.publishing.cloudevent import SEQUENCE_DIGITS, CloudEvent

SOURCES = {PERSON: "openbank.persons", ACCOUNT: "openbank.accounts"}


def cloud_event(event: RecordedEvent) -> CloudEvent | None:
    """What other systems see of a recorded event; None for one that stays inside, or is another program's.

    Raises UnknownEventType for an event of a newer version, UndecodableEvent.
    """
    category, id = split(event.stream)
    if category not in SOURCES or not codec.is_ours(event.type):
        return None
    domain_event = codec.decode(event.type, event.data, id)
    published_as = codec.event_type(event.type).published_as
    if published_as is None:
        return None
    data: Any = _MESSAGE_OF[type(domain_event)](domain_event, id)
    data.timestamp.FromMicroseconds(event.metadata.record_time)
    return CloudEvent(
        id=show_uuid(event.id),
        source=SOURCES[category],
        type=published_as,
        subject=id,
        time=event.metadata.record_time,
        partitionkey=event.stream,
        sequence=f"{event.revision:0{SEQUENCE_DIGITS}d}",
        data=data,
        correlationid=event.metadata.correlation_id,
        causationid=event.metadata.causation_id,
    )


def _registered(event: person.PersonRegistered, person_id: str) -> Message:
    registered = event.person
    message = person_integration_events_pb2.PersonRegistered()
    message.person_id = person_id
    message.email = registered.email
    message.full_name = f"{registered.first_name} {registered.last_name}".strip()
    return message


def _address_updated(event: person.PersonAddressUpdated, person_id: str) -> Message:
    message = person_integration_events_pb2.PersonAddressUpdated()
    message.person_id = person_id
    address = message.address
    address.street = event.new_address.street
    address.city = event.new_address.city
    address.postal_code = event.new_address.postal_code
    address.country = event.new_address.country
    return message


def _opened(event: account.AccountOpened, account_id: str) -> Message:
    message = account_integration_events_pb2.AccountOpened()
    message.account_id = account_id
    message.owner_id = event.owner_id
    message.account_number = event.account_number
    message.currency_code = event.balance_after.currency.code
    _fill_money(message.balance_after, event.balance_after)
    return message


def _deposited(event: account.MoneyDeposited, account_id: str) -> Message:
    message = account_integration_events_pb2.MoneyDeposited()
    message.account_id = account_id
    _fill_money(message.amount, event.amount)
    _fill_money(message.balance_after, event.balance_after)
    return message


def _withdrawn(event: account.MoneyWithdrawn, account_id: str) -> Message:
    message = account_integration_events_pb2.MoneyWithdrawn()
    message.account_id = account_id
    _fill_money(message.amount, event.amount)
    _fill_money(message.balance_after, event.balance_after)
    return message


def _fill_money(message: MoneyMessage, amount: Money) -> None:
    message.currency_code = amount.currency.code
    message.units, message.nanos = to_units(amount)


_MESSAGE_OF: dict[type, Callable[[Any, str], Message]] = {
    person.PersonRegistered: _registered,
    person.PersonAddressUpdated: _address_updated,
    account.AccountOpened: _opened,
    account.MoneyDeposited: _deposited,
    account.MoneyWithdrawn: _withdrawn,
}
"""From a domain event and the id of its person or account. The time is filled in afterwards: all messages have one."""

STORED_TYPES: Mapping[str, str] = {row.published_as: row.name for row in codec.ROWS.values() if row.published_as}
"""The stored name of the domain event behind each integration event, by the latter's type."""

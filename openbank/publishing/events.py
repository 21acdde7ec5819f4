"""Domain events to integration events: one pure function for each event type that is published.

Which types those are, and under which names, the rows of `codec` say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from openbank.accounts.v1 import account_pb2
from openbank.codec import events as codec
from openbank.common.v1 import errors_pb2
from openbank.common.v1.money_pb2 import Money as MoneyMessage
from openbank.domain import person
from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MoneyDeposited,
    MoneyWithdrawn,
    TransferReceived,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import AccountState
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


def _opened(event: AccountOpened, account_id: str) -> Message:
    message = account_integration_events_pb2.AccountOpened()
    message.account_id = account_id
    message.owner_id = event.owner_id
    message.account_number = event.account_number
    message.currency_code = event.balance_after.currency.code
    _fill_money(message.balance_after, event.balance_after)
    return message


def _deposited(event: MoneyDeposited, account_id: str) -> Message:
    message = account_integration_events_pb2.MoneyDeposited()
    message.account_id = account_id
    _fill_money(message.amount, event.amount)
    _fill_money(message.balance_after, event.balance_after)
    return message


def _withdrawn(event: MoneyWithdrawn, account_id: str) -> Message:
    message = account_integration_events_pb2.MoneyWithdrawn()
    message.account_id = account_id
    _fill_money(message.amount, event.amount)
    _fill_money(message.balance_after, event.balance_after)
    return message


def _by_name(message_class: type[Message]) -> Callable[[AccountEvent, str], Message]:
    """What the message has of the event, field by field, under the same names."""
    names = [field.name for field in message_class.DESCRIPTOR.fields if field.name not in ("account_id", "timestamp")]

    def make(event: AccountEvent, account_id: str) -> Message:
        message = message_class()
        _fill(message, "account_id", account_id)
        for name in names:
            _fill(message, name, getattr(event, _ATTRIBUTES.get(name, name)))
        return message

    return make


_ATTRIBUTES = {"state": "state_after", "hold_remaining_after": "remaining_after"}
"""The attribute of the domain event, if the message's field has another name."""


def _fill(message: Any, name: str, value: Any) -> None:
    match value:
        case Money():
            _fill_money(getattr(message, name), value)
        case AccountState():
            setattr(message, name, account_pb2.AccountState.Value(f"ACCOUNT_STATE_{value.value}"))
        case int():
            getattr(message, name).FromMicroseconds(value)
        case str() if name == "reason":
            message.reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{value}")
        case _:
            setattr(message, name, value)


def _fill_money(message: MoneyMessage, amount: Money) -> None:
    message.currency_code = amount.currency.code
    message.units, message.nanos = to_units(amount)


_MESSAGE_OF: dict[type, Callable[[Any, str], Message]] = {
    person.PersonRegistered: _registered,
    person.PersonAddressUpdated: _address_updated,
    AccountOpened: _opened,
    MoneyDeposited: _deposited,
    MoneyWithdrawn: _withdrawn,
    AccountFrozen: _by_name(account_integration_events_pb2.AccountFrozen),
    AccountUnfrozen: _by_name(account_integration_events_pb2.AccountUnfrozen),
    AccountClosed: _by_name(account_integration_events_pb2.AccountClosed),
    HoldPlaced: _by_name(account_integration_events_pb2.HoldPlaced),
    HoldCaptured: _by_name(account_integration_events_pb2.HoldCaptured),
    HoldReleased: _by_name(account_integration_events_pb2.HoldReleased),
    HoldExpired: _by_name(account_integration_events_pb2.HoldExpired),
    TransferSent: _by_name(account_integration_events_pb2.TransferSent),
    TransferReceived: _by_name(account_integration_events_pb2.TransferReceived),
    TransferReturned: _by_name(account_integration_events_pb2.TransferReturned),
    DepositReversed: _by_name(account_integration_events_pb2.DepositReversed),
    WithdrawalReversed: _by_name(account_integration_events_pb2.WithdrawalReversed),
}
"""From a domain event and the id of its person or account. The time is filled in afterwards: all messages have one."""

STORED_TYPES: Mapping[str, str] = {row.published_as: row.name for row in codec.ROWS.values() if row.published_as}
"""The stored name of the domain event behind each integration event, by the latter's type."""

"""From an event to what it changes in the views: pure functions, which every adapter shares."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.domain import account as accounts
from openbank.domain.account import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.person import PersonAddressUpdated, PersonRegistered
from openbank.domain.versioned import Versioned
from openbank.eventstore.codec import DomainEvent
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON, split
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AddressSet,
    BalanceSet,
    Change,
    PersonInserted,
)


def project(event: RecordedEvent, payload: DomainEvent) -> Sequence[Change]:
    """What `event`, whose decoded payload is given, changes. Raises ValueError for one that its stream cannot hold."""
    category, aggregate_id = split(event.stream)
    if category == ACCOUNT:
        return _account(event, payload, aggregate_id)
    if category == PERSON:
        return _person(event, payload, aggregate_id)
    raise ValueError(f"{event.stream} is neither a person's nor an account's stream")


def _person(event: RecordedEvent, payload: DomainEvent, person_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    match payload:
        case PersonRegistered(person):
            return (PersonInserted(event.position, Versioned(person, event.revision, time, time)),)
        case PersonAddressUpdated(_, address):
            return (AddressSet(person_id, event.revision, time, address),)
        case _:
            raise ValueError(f"{event.type} is no event of a person")


def _account(event: RecordedEvent, payload: DomainEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    recorded = AccountEventRecorded(account_id, event)
    match payload:
        case MoneyDeposited() | MoneyWithdrawn():
            # The event states the result: to add the amount up here would count a redelivery twice.
            return (BalanceSet(account_id, event.revision, time, payload.balance_after), recorded)
        case AccountOpened():
            account = accounts.apply(None, payload)
            return (AccountInserted(event.position, Versioned(account, event.revision, time, time)), recorded)
        case _:
            raise ValueError(f"{event.type} is no event of an account")

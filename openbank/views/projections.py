"""From an event to what it changes in the views: pure functions, which every adapter shares.

Events state what they set, so a projection copies it: an event that sets nothing new needs no line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openbank.codec.events import DomainEvent
from openbank.domain import account as accounts
from openbank.domain import hold_record
from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    HoldPlaced,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
)
from openbank.domain.controls import NO_LIMITS, AccountState
from openbank.domain.person import PersonEvent, PersonRegistered
from openbank.domain.tags import NO_TAGS
from openbank.domain.transfers import TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON, split
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AccountUpdated,
    Change,
    HoldInserted,
    HoldUpdated,
    PersonInserted,
    PersonUpdated,
    TransferFacts,
    TransferUpdated,
)
from openbank.views.terms import terms


def project(event: RecordedEvent, payload: DomainEvent) -> Sequence[Change]:
    """What `event`, whose decoded payload is given, changes. Raises ValueError for one that its stream cannot hold."""
    category, aggregate_id = split(event.stream)
    if category == ACCOUNT and isinstance(payload, AccountEvent):
        return _account(event, payload, aggregate_id)
    if category == PERSON and isinstance(payload, PersonEvent):
        return _person(event, payload, aggregate_id)
    raise ValueError(f"{event.stream} cannot hold {event.type}")


def _person(event: RecordedEvent, payload: PersonEvent, person_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    if isinstance(payload, PersonRegistered):
        return (PersonInserted(event.position, Versioned(payload.person, event.revision, time, time)),)
    return (PersonUpdated(person_id, event.revision, time, payload.address_after),)


def _account(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    recorded = AccountEventRecorded(account_id, event, payload.moved, _terms(payload, account_id))
    if isinstance(payload, AccountOpened):
        account = accounts.apply(None, payload)
        return (AccountInserted(event.position, Versioned(account, event.revision, time, time)), recorded)
    # The result: adding the amount up here would count an event twice that is projected twice.
    funds = payload.balance_after, payload.available_after
    updated = AccountUpdated(account_id, event.revision, time, *funds, **_sets(payload))
    return (updated, recorded, *_hold(event, payload, account_id), *_transfer(event, payload, account_id))


def _terms(payload: AccountEvent, account_id: str) -> tuple[bytes, ...]:
    tags = getattr(payload, "tags", NO_TAGS)
    return terms(account_id, tags) if payload.moved and tags is not NO_TAGS else ()


def _transfer(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    match payload:
        case TransferSent(transfer_id, destination_id, amount, description, hold_id=hold_id, tags=tags):
            ids = event.position, event.revision, account_id, destination_id
            facts = TransferFacts(*ids, amount, description, hold_id, tags, time)
            return (TransferUpdated(transfer_id, TransferState.IN_TRANSIT, time, facts),)
        case TransferReceived(transfer_id=transfer_id):
            return (TransferUpdated(transfer_id, TransferState.COMPLETED, time, None, event.revision),)
        case TransferRefused(transfer_id=transfer_id, reason=reason):
            return (TransferUpdated(transfer_id, TransferState.RETURNING, time, None, event.revision, reason),)
        case TransferReturned(transfer_id=transfer_id, reason=reason):
            return (TransferUpdated(transfer_id, TransferState.RETURNED, time, refusal=reason),)
        case _:
            return ()


def _hold(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    if isinstance(payload, HoldPlaced):
        hold = Versioned(hold_record.placed(account_id, payload), event.revision, time, time)
        return (HoldInserted(event.position, hold),)
    change = hold_record.change_by(payload)
    return () if change is None else (HoldUpdated(change, event.revision, time),)


def _sets(payload: AccountEvent) -> Mapping[str, Any]:
    """What an event sets beside the balances, by the names of `AccountUpdated`."""
    match payload:
        case AccountFrozen():
            return {"state": payload.state_after, "freeze_reason": payload.reason}
        case AccountUnfrozen():
            return {"state": AccountState.ACTIVE, "freeze_reason": ""}
        case AccountClosed():
            return {"state": AccountState.CLOSED, "freeze_reason": "", "close_time": payload.close_time}
        case OverdraftLimitSet():
            return {"overdraft_limit": payload.limit}
        case SpendingLimitsSet():
            return {"spending": payload.limits or NO_LIMITS}
        case _:
            return {}

"""From an event to what it changes in the views: pure functions, which every adapter shares.

Events state what they set, so a projection copies it: an event that sets nothing new needs no line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openbank.codec.events import DomainEvent, InternalEvent
from openbank.domain import account as accounts
from openbank.domain import hold_record
from openbank.domain.account_events import (
    AccountClosed,
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    HoldPlaced,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import NO_LIMITS, AccountState
from openbank.domain.person import PersonEvent, PersonRegistered
from openbank.domain.tags import NO_TAGS
from openbank.domain.transfers import TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, NUMBER, PERSON, REQUEST, split
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AccountUpdated,
    Change,
    HoldInserted,
    HoldUpdated,
    MovementReversed,
    PersonInserted,
    PersonUpdated,
    TransferFacts,
    TransferUpdated,
)

_INTERNAL = frozenset({REQUEST, NUMBER})


def project(event: RecordedEvent, payload: DomainEvent) -> Sequence[Change]:
    """What `event`, whose decoded payload is given, changes: nothing for what the bank keeps for itself.

    Raises ValueError for one that its stream cannot hold.
    """
    category, aggregate_id = split(event.stream)
    if category == ACCOUNT and isinstance(payload, AccountEvent):
        return _account(event, payload, aggregate_id)
    if category == PERSON and isinstance(payload, PersonEvent):
        return _person(event, payload, aggregate_id)
    if category in _INTERNAL and isinstance(payload, InternalEvent):
        return ()
    raise ValueError(f"{event.stream} cannot hold {event.type}")


def _person(event: RecordedEvent, payload: PersonEvent, person_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    if isinstance(payload, PersonRegistered):
        return (PersonInserted(event.position, Versioned(payload.person, event.revision, time, time)),)
    return (PersonUpdated(person_id, event.revision, time, payload.address_after),)


def _account(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    moved = payload.moved
    recorded = AccountEventRecorded(account_id, event, moved, getattr(payload, "tags", NO_TAGS) if moved else NO_TAGS)
    if isinstance(payload, AccountOpened):
        account = accounts.apply(None, payload)
        return (AccountInserted(event.position, Versioned(account, event.revision, time, time)), recorded)
    # The result: adding the amount up here would count an event twice that is projected twice.
    funds = payload.balance_after, payload.available_after
    if isinstance(payload, MoneyDeposited | MoneyWithdrawn):
        return (AccountUpdated(account_id, event.revision, time, *funds), recorded)
    updated = AccountUpdated(account_id, event.revision, time, *funds, **_sets(payload))
    others = (*_hold(event, payload, account_id), *_transfer(event, payload, account_id))
    return (updated, recorded, *others, *_reversal(event, payload, account_id))


def _transfer(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    time = event.metadata.record_time
    match payload:
        case TransferSent(transfer_id, reverses_transfer_id=reverses):
            sent = TransferUpdated(transfer_id, TransferState.IN_TRANSIT, time, _facts(event, payload, account_id))
            # A reversal is no event of the transfer that it takes back: state and time of that stay.
            return (sent, TransferUpdated(reverses, None, 0, reversed_by=transfer_id)) if reverses else (sent,)
        case TransferReceived(transfer_id=transfer_id):
            return (TransferUpdated(transfer_id, TransferState.COMPLETED, time, None, event.revision),)
        case TransferRefused(transfer_id=transfer_id, reason=reason):
            return (TransferUpdated(transfer_id, TransferState.RETURNING, time, None, event.revision, reason),)
        case TransferReturned(transfer_id=transfer_id, reason=reason):
            return (TransferUpdated(transfer_id, TransferState.RETURNED, time, refusal=reason),)
        case _:
            return ()


def _facts(event: RecordedEvent, sent: TransferSent, account_id: str) -> TransferFacts:
    return TransferFacts(
        event.position,
        event.revision,
        account_id,
        sent.destination_account_id,
        sent.amount,
        sent.description,
        sent.hold_id,
        sent.tags,
        sent.reverses_transfer_id,
        event.metadata.record_time,
    )


def _reversal(event: RecordedEvent, payload: AccountEvent, account_id: str) -> Sequence[Change]:
    match payload:
        case (
            DepositReversed(reversed_revision=revision)
            | WithdrawalReversed(reversed_revision=revision)
            | TransferSent(reversed_revision=revision)
        ) if revision:
            return (MovementReversed(event.position, account_id, revision, event.revision),)
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

"""Snapshots of aggregates as bytes: their state after some event, so that not all events have to be read.

Snapshots can always be made again, so a snapshot of an unknown fold is ignored.
"""

from __future__ import annotations

from datetime import date
from types import MappingProxyType
from typing import TypeVar

from google.protobuf.message import DecodeError

from openbank.aggregates.folding import SnapshotCodec
from openbank.codec import events as codec
from openbank.domain.account import Account
from openbank.domain.controls import PLAIN, AccountState, Controls, Hold, OpenHolds, Reversals, SpendingLimits, Spent
from openbank.domain.money import MAX_EXPONENT, Currency, Money
from openbank.domain.person import Person, PersonRegistered
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import SNAPSHOT_EVENTS
from openbank.storage.v1.account_snapshot_pb2 import AccountSnapshot
from openbank.storage.v1.person_snapshot_pb2 import PersonSnapshot

State = TypeVar("State")
_DAY_0 = date(1970, 1, 1).toordinal()

ACCOUNT_FOLD = 5
"""The version of the fold of accounts: one more whenever `domain.account.apply` changes its meaning, or an account gets
a field."""
EARLIER_FOLDS = (1, 3, 4)
"""1: before controls. 3: before reversals. 4: with reversals, but perhaps folded from a snapshot of 1 or 3, which lacks
them. No snapshot has 2.

Snapshots of these folds are read, but they may lack reversals: an instance of an earlier version folded a transfer that
takes another back as any other. So the account remembers all reversals from the snapshot's revision on only. About
movements before it the views are asked.
"""
PERSON_FOLD = 1
"""The same of `domain.person.apply` and persons."""


def _encode_account(account: Versioned[Account]) -> bytes:
    state = account.state
    message = AccountSnapshot(
        fold=ACCOUNT_FOLD,
        owner_id=state.owner_id,
        account_number=state.account_number,
        currency_code=state.currency.code,
        currency_exponent=state.currency.exponent,
        balance_minor=state.balance.minor,
        state=state.state.value,
        revision=account.revision,
    )
    _fill_controls(message, state.controls)
    message.create_time.FromMicroseconds(account.create_time)
    message.update_time.FromMicroseconds(account.update_time)
    return message.SerializeToString()


def _decode_account(data: bytes, account_id: str) -> Versioned[Account] | None:
    try:
        message = AccountSnapshot.FromString(data)
        exponent = message.currency_exponent
        if message.fold not in (ACCOUNT_FOLD, *EARLIER_FOLDS) or not 0 <= exponent <= MAX_EXPONENT:
            return None
        balance = Money(Currency.of(message.currency_code, exponent), message.balance_minor)
        account = Account(account_id, message.owner_id, message.account_number, balance, _controls_of(message))
        return _versioned(account, message)
    except (DecodeError, ValueError):
        return None


def _fill_controls(message: AccountSnapshot, controls: Controls) -> None:
    if controls is PLAIN:
        return
    message.freeze_reason = controls.freeze_reason
    if controls.close_time is not None:
        message.close_time.FromMicroseconds(controls.close_time)
    message.overdraft_limit_minor = controls.overdraft_limit
    if limits := controls.spending:
        message.time_zone = limits.time_zone
        if limits.per_transaction is not None:
            message.per_transaction_minor = limits.per_transaction
        if limits.per_day is not None:
            message.per_day_minor = limits.per_day
    if spent := controls.spent:
        message.spending_day = spent.day.toordinal() - _DAY_0
        message.spent_minor = spent.minor
    message.holds_placed = controls.holds_placed
    message.last_hold = controls.last_hold
    for hold_id, hold in controls.holds.items():
        stored = message.holds.add(hold_id=hold_id, remaining_minor=hold.remaining, placed=hold.placed)
        stored.expire_time.FromMicroseconds(hold.expire_time)
    for revision, reversed_by in controls.reversals.known.items():
        message.reversals.add(revision=revision, reversed_by=reversed_by)
    message.reversals_before = controls.reversals.before


def _controls_of(message: AccountSnapshot) -> Controls:
    limits = spent = None
    if message.time_zone:
        one = message.per_transaction_minor if message.HasField("per_transaction_minor") else None
        day = message.per_day_minor if message.HasField("per_day_minor") else None
        limits = SpendingLimits(one, day, message.time_zone)
    if message.HasField("spending_day"):
        spent = Spent(date.fromordinal(message.spending_day + _DAY_0), message.spent_minor)
    holds = {
        hold.hold_id: Hold(hold.remaining_minor, hold.expire_time.ToMicroseconds(), hold.placed)
        for hold in message.holds
    }
    may_lack_reversals = message.fold in EARLIER_FOLDS
    controls = Controls(
        AccountState(message.state),
        message.freeze_reason,
        message.close_time.ToMicroseconds() if message.HasField("close_time") else None,
        message.overdraft_limit_minor,
        limits,
        spent,
        OpenHolds(holds),
        sum(hold.remaining for hold in holds.values()),
        message.holds_placed,
        message.last_hold,
        Reversals(
            MappingProxyType({one.revision: one.reversed_by for one in message.reversals}),
            message.revision if may_lack_reversals else message.reversals_before,
        ),
    )
    return PLAIN if controls == PLAIN else controls


def _encode_person(person: Versioned[Person]) -> bytes:
    message = PersonSnapshot(fold=PERSON_FOLD, revision=person.revision)
    _, data = codec.encode(PersonRegistered(person.state))
    message.person.MergeFromString(data)
    message.create_time.FromMicroseconds(person.create_time)
    message.update_time.FromMicroseconds(person.update_time)
    return message.SerializeToString()


def _decode_person(data: bytes, person_id: str) -> Versioned[Person] | None:
    try:
        message = PersonSnapshot.FromString(data)
        if message.fold != PERSON_FOLD:
            return None
        registered = codec.decode(_REGISTERED, message.person.SerializeToString(), person_id)
        assert isinstance(registered, PersonRegistered)
        return _versioned(registered.person, message)
    except (DecodeError, ValueError, codec.UndecodableEvent):
        return None


def _versioned(state: State, message: AccountSnapshot | PersonSnapshot) -> Versioned[State]:
    times = message.create_time.ToMicroseconds(), message.update_time.ToMicroseconds()
    return Versioned(state, message.revision, *times)


_REGISTERED = "openbank.persons.v1.PersonRegistered"


def _account_interval(account: Account) -> int:
    """In events. A snapshot of 1,000 holds takes as long as several deposits: each of them would pay for it."""
    return SNAPSHOT_EVENTS * (1 + len(account.controls.holds) // 50)


ACCOUNTS = SnapshotCodec(_encode_account, _decode_account, _account_interval)
PERSONS = SnapshotCodec(_encode_person, _decode_person)

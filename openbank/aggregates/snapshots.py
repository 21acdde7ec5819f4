"""Snapshots of aggregates as bytes: what they are after some event, so that not all events need be read.

Snapshots can always be made again, so there are no versions to convert: a snapshot of another fold is ignored.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError

from openbank.aggregates.folding import SnapshotCodec
from openbank.codec import events as codec
from openbank.domain.account import Account, AccountState
from openbank.domain.money import MAX_EXPONENT, Currency, Money
from openbank.domain.person import Person, PersonRegistered
from openbank.domain.versioned import Versioned
from openbank.storage.v1.account_snapshot_pb2 import AccountSnapshot
from openbank.storage.v1.person_snapshot_pb2 import PersonSnapshot

State = TypeVar("State")

ACCOUNT_FOLD = 1
"""The version of the fold of accounts: one more whenever `domain.account.apply` changes its meaning, or an account gets
a field."""
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
    message.create_time.FromMicroseconds(account.create_time)
    message.update_time.FromMicroseconds(account.update_time)
    return message.SerializeToString()


def _decode_account(data: bytes, account_id: str) -> Versioned[Account] | None:
    try:
        message = AccountSnapshot.FromString(data)
        exponent = message.currency_exponent
        if message.fold != ACCOUNT_FOLD or not 0 <= exponent <= MAX_EXPONENT:
            return None
        balance = Money(Currency.of(message.currency_code, exponent), message.balance_minor)
        account = Account(account_id, message.owner_id, message.account_number, balance, AccountState(message.state))
        return _versioned(account, message)
    except (DecodeError, ValueError):
        return None


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

ACCOUNTS = SnapshotCodec(_encode_account, _decode_account)
PERSONS = SnapshotCodec(_encode_person, _decode_person)

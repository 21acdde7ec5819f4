"""Rows of the tables: written from changes, read back as what queries answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from openbank.domain.account import Account
from openbank.domain.fields import account_number_key
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.money import Currency, Money
from openbank.domain.person import Address, Gender, Person
from openbank.domain.transfers import Transfer
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.eventstore.streams import account_stream
from openbank.views.changes import (
    AccountEventRecorded,
    AccountInserted,
    AccountUpdated,
    HoldInserted,
    HoldUpdated,
    MinuteReached,
    MovementReversed,
    PersonInserted,
    PersonUpdated,
    TransferUpdated,
)
from openbank.views.governed import limits_of, limits_text, seen_controls
from openbank.views.port import ListedTransfer, account_state, transfer_state
from openbank.views.tags import tags_of, tags_text
from openbank.views.totals import Totals, stored_credits, totals_of_opening

Row = Sequence[Any]


def person_row(change: PersonInserted) -> Row:
    person, revision, create_time, update_time = change.person
    address = person.address
    return (
        change.position,
        person.person_id,
        person.first_name,
        person.last_name,
        person.nationality,
        person.gender.value,
        person.date_of_birth.isoformat(),
        address.street,
        address.city,
        address.postal_code,
        address.country,
        person.email,
        revision,
        create_time,
        update_time,
    )


def person_of(row: Row) -> Versioned[Person]:
    _, person_id, first, last, nationality, gender, born, street, city, code, country, email, *version = row
    address = Address(street, city, code, country)
    person = Person(person_id, first, last, nationality, Gender(gender), date.fromisoformat(born), address, email)
    return Versioned(person, *version)


def account_row(change: AccountInserted) -> Row:
    account, revision, create_time, update_time = change.account
    return (
        change.position,
        account.account_id,
        account.owner_id,
        account.account_number,
        account_number_key(account.account_number),
        account.currency.code,
        account.currency.exponent,
        account.balance.minor,
        account.available.minor,
        account.state.value,
        account.controls.freeze_reason,
        account.controls.close_time,
        account.controls.overdraft_limit,
        limits_text(account.controls.spending),
        revision,
        create_time,
        update_time,
        *_running(totals_of_opening(change.account)),
    )


def account_of(row: Row) -> Versioned[Account]:
    _, account_id, owner_id, number, _, currency, exponent, balance, available, *rest = row
    state, freeze_reason, close_time, overdraft, spending, revision, create_time, update_time, *_ = rest
    known = account_state(state, account_id, revision)
    controls = seen_controls(balance, available, known, freeze_reason, close_time, overdraft, limits_of(spending))
    money = Money(Currency.of(currency, exponent), balance)
    return Versioned(Account(account_id, owner_id, number, money, controls), revision, create_time, update_time)


def hold_row(change: HoldInserted) -> Row:
    hold, revision, create_time, update_time = change.hold
    return (
        change.position,
        hold.hold_id,
        hold.account_id,
        hold.amount.currency.code,
        hold.amount.currency.exponent,
        hold.amount.minor,
        hold.remaining.minor,
        hold.released.minor,
        hold.state.value,
        hold.description,
        hold.expire_time,
        tags_text(hold.tags),
        revision,
        create_time,
        update_time,
    )


def hold_of(row: Row) -> Versioned[HoldRecord]:
    _, hold_id, account_id, code, exponent, amount, remaining, released, state, *rest = row
    description, expire_time, tags, *version = rest
    currency = Currency.of(code, exponent)
    hold = HoldRecord(
        hold_id,
        account_id,
        Money(currency, amount),
        Money(currency, remaining),
        Money(currency, released),
        HoldState(state),
        description,
        expire_time,
        tags_of(tags),
    )
    return Versioned(hold, *version)


def hold_update_row(change: HoldUpdated) -> Row:
    hold_id, state, remaining, released = change.change
    return (hold_id, change.revision, change.update_time, state.value, remaining.minor, released.minor)


def event_row(account: int, change: AccountEventRecorded, totals: Totals) -> Row:
    """`account` is the position of the account, `totals` are those after the event."""
    position, _, revision, event_id, event_type, data, metadata = change.event
    time, request_id, request_hash, correlation_id, causation_id, _, part, parts, actor = metadata
    # Bytes as bytearrays, which Python's sqlite3 takes as they are.
    return (
        position,
        account,
        revision,
        bytearray(event_id),
        event_type,
        bytearray(data),
        time,
        bytearray(request_id),
        bytearray(request_hash),
        correlation_id,
        causation_id,
        part,
        parts,
        change.moved,
        totals.time,
        totals.entries,
        stored_credits(totals.credits),
        actor,
    )


def event_of(row: Row) -> RecordedEvent:
    """The event in a row of `account_events` with the ids of the account and its owner behind it."""
    position, _, revision, event_id, event_type, data, time, request, digest, correlation, causation, *rest = row
    part, parts, *_, actor, account_id, owner_id = rest
    metadata = Metadata(time, request, digest, correlation, causation, owner_id, part, parts, actor)
    return RecordedEvent(position, account_stream(account_id), revision, event_id, event_type, data, metadata)


def totals_of(row: Row) -> Totals:
    """The totals in the same row."""
    return Totals(row[2], row[-6], row[-5], int(row[-4]))


def is_movement(row: Row) -> bool:
    return bool(row[-7])


def known_totals(row: Row) -> Totals:
    """The totals of an account: revision, time, entries, credits."""
    revision, time, entries, credits = row
    return Totals(revision, time, entries, int(credits))


def term_row(added: tuple[bytes, int]) -> Row:
    term, position = added
    return (bytearray(term), position)


def _running(totals: Totals) -> Row:
    return (totals.time, totals.entries, stored_credits(totals.credits))


def person_update_row(change: PersonUpdated) -> Row:
    """NULL for what the change leaves as it is."""
    address = change.address
    parts = (address.street, address.city, address.postal_code, address.country) if address else (None,) * 4
    return (change.person_id, change.revision, change.update_time, *parts)


def account_update_row(change: AccountUpdated, totals: Totals | None) -> Row:
    """NULL for what the change leaves as it is. None are the totals of an event that was not added."""
    return (
        change.account_id,
        change.revision,
        change.update_time,
        change.balance and change.balance.minor,
        change.available and change.available.minor,
        None if change.state is None else change.state.value,
        change.freeze_reason,
        change.close_time,
        change.overdraft_limit and change.overdraft_limit.minor,
        None if change.spending is None else limits_text(change.spending),
        *(_running(totals) if totals else (None,) * 3),
    )


def funds_update_row(account: int, change: AccountUpdated, totals: Totals) -> Row:
    """`account` is the position of the account. The change sets nothing but its funds, `totals` are those after it."""
    assert change.balance is not None
    assert change.available is not None
    funds = change.balance.minor, change.available.minor
    return (account, change.revision, change.update_time, *funds, *_running(totals))


def transfer_row(change: TransferUpdated) -> Row:
    """NULL for what another event of the transfer tells."""
    state = change.state.value if change.state else 0
    told = (state, change.received_revision, change.refusal, change.reversed_by, change.update_time)
    if change.sent is None:
        return (change.transfer_id, *(None,) * 12, *told)
    position, revision, source, destination, amount, description, hold_id, tags, reverses, time = change.sent
    money = amount.currency.code, amount.currency.exponent, amount.minor
    facts = position, revision, source, destination, *money, description, hold_id, tags_text(tags), reverses, time
    return (change.transfer_id, *facts, *told)


def transfer_of(row: Row) -> ListedTransfer:
    """A transfer that was sent."""
    transfer_id, position, sent_revision, source, destination, currency, exponent, minor, *rest = row
    description, hold_id, tags, reverses, create_time, state, received_revision, refusal, reversed_by, update_time = (
        rest
    )
    transfer = Transfer(
        transfer_id,
        source,
        destination,
        Money(Currency.of(currency, exponent), minor),
        description,
        hold_id,
        transfer_state(state, source, sent_revision),
        refusal,
        create_time,
        update_time,
        sent_revision,
        received_revision,
        tags_of(tags),
        reverses,
        reversed_by,
    )
    return ListedTransfer(position, transfer)


def reversal_row(change: MovementReversed) -> Row:
    return (change.account_id, change.revision, change.position, change.reversed_by)


def minute_row(change: MinuteReached) -> Row:
    return (change.minute, *change.place)

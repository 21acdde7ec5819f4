"""Every stored event type, through every place that must know it.

A new type that one of them has been forgotten for fails here, under its name. Its examples are those of the frozen
corpus, `tests/eventstore/corpus`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from google.protobuf.descriptor import Descriptor

from openbank.accounts.v1.account_events_pb2 import AccountEvent as AccountEventMessage
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsResponse
from openbank.cli.tail.lines import TextLines, json_lines
from openbank.codec import accounts, internal, persons
from openbank.codec import events as codec
from openbank.codec.event_type import EventType
from openbank.commands.write_side import WriteSide
from openbank.common.v1.money_pb2 import Money as MoneyMessage
from openbank.domain.account import Account
from openbank.domain.account_events import (
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
    OverdraftLimitSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.domain.controls import NO_HOLDS, NO_REVERSALS, AccountState
from openbank.domain.fields import account_number_key
from openbank.domain.money import Money
from openbank.domain.person import PersonEvent, PersonRegistered
from openbank.domain.statement import StatementEntry, entry_of
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import Metadata, NewEvent, RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON, account_stream, person_stream, split
from openbank.feeds.filter import Form
from openbank.following.entry import Entry
from openbank.persons.v1.person_events_pb2 import PersonEvent as PersonEventMessage
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsResponse
from openbank.publishing import cloudevent
from openbank.publishing.events import cloud_event
from openbank.rpc.convert.accounts import EVENTS as ACCOUNT_EVENTS
from openbank.rpc.convert.persons import EVENTS as PERSON_EVENTS
from openbank.rpc.feeds import encode
from openbank.storage.v1.account_payload_pb2 import AccountPayload
from openbank.upkeep.verify.audit import Audit
from openbank.views.batch import changes_of
from openbank.views.port import MovementFilter
from openbank.views.sqlite import SqliteViews
from tests.eventstore.corpus import lines
from tests.eventstore.memory import MemoryStore
from tests.examples import NOON, john
from tests.views.histories import LOG

GROUPS: Mapping[str, tuple[Any, Sequence[EventType]]] = {
    "persons": (PersonEvent, persons.ROWS),
    "accounts": (AccountEvent, accounts.ROWS),
    "internal": (codec.InternalEvent, internal.ROWS),
}
CONTRACT: Sequence[tuple[Descriptor, Any, Sequence[EventType]]] = [
    (PersonEventMessage.DESCRIPTOR, PERSON_EVENTS, persons.ROWS),
    (AccountEventMessage.DESCRIPTOR, ACCOUNT_EVENTS, accounts.ROWS),
]
EVERY_TYPE = pytest.mark.parametrize("type", codec.TYPES)
PUBLIC_TYPES = pytest.mark.parametrize("type", [row.name for row in (*persons.ROWS, *accounts.ROWS)])
ACCOUNT_TYPES = pytest.mark.parametrize("row", accounts.ROWS, ids=lambda row: row.name)


class Example(NamedTuple):
    """An event that is stored, and a log that it ends."""

    event: RecordedEvent
    happened: codec.DomainEvent
    log: Sequence[RecordedEvent]


def examples(type: str) -> Sequence[Example]:
    return [_example(line) for line in lines() if line["type"] == type]


def _example(line: Mapping[str, Any]) -> Example:
    stream, data = line["stream"], base64.b64decode(line["data"])
    happened = codec.decode(line["type"], data, split(stream)[1])
    log: list[RecordedEvent] = []
    owner_id = ""
    if isinstance(happened, AccountEvent):
        owner_id = happened.owner_id if isinstance(happened, AccountOpened) else "john"
        _add(log, person_stream(owner_id), *codec.encode(PersonRegistered(john(person_id=owner_id))))
        if not isinstance(happened, AccountOpened):
            _add_what_comes_before(log, stream, owner_id, happened)
    elif isinstance(happened, PersonEvent) and not isinstance(happened, PersonRegistered):
        _add(log, stream, *codec.encode(PersonRegistered(john(person_id=split(stream)[1]))))
    _add(log, stream, line["type"], data, owner_id)
    return Example(log[-1], happened, log)


def _add_what_comes_before(log: list[RecordedEvent], stream: str, owner_id: str, happened: AccountEvent) -> None:
    """An account with the balances, the hold and the overdraft limit that `happened` finds, and the other account."""
    currency = happened.balance_after.currency
    balance = happened.balance_after.minor - happened.moved
    if getattr(happened, "reversed_revision", 0):
        _add_what_is_reversed(log, stream, owner_id, happened)
        return
    available = happened.available_after.minor - happened.freed
    held = _held_before(happened) or max(balance - available, 0)
    on_its_way = happened.amount.minor if isinstance(happened, TransferReturned) else 0
    _open(log, stream, owner_id, Money(currency, balance + on_its_way), "1")
    limit = available - balance + held
    if limit:
        funds = Money(currency, balance), Money(currency, balance + limit)
        event = OverdraftLimitSet(Money(currency, limit), Money(currency, 0), *funds)
        _add(log, stream, *codec.encode(event), owner_id)
    if held:
        hold_id, amount = getattr(happened, "hold_id", "") or "h", Money(currency, held)
        placed = HoldPlaced(hold_id, amount, NOON, "", Money(currency, balance), Money(currency, available))
        _add(log, stream, *codec.encode(placed), owner_id)
    if isinstance(happened, AccountUnfrozen):
        funds = Money(currency, balance), Money(currency, available)
        _add(log, stream, *codec.encode(AccountFrozen(*funds, AccountState.FROZEN, "")), owner_id)
    if isinstance(happened, TransferReceived | TransferRefused):
        other, amount = account_stream(happened.source_account_id), happened.amount
        _open(log, other, owner_id, amount, "2")
        nothing = Money(amount.currency, 0)
        sent = TransferSent(happened.transfer_id, split(stream)[1], amount, "", nothing, nothing)
        _add(log, other, *codec.encode(sent), owner_id)
    if isinstance(happened, TransferReturned):
        other, amount = account_stream(happened.destination_account_id), happened.amount
        left = Money(currency, balance)
        sent = TransferSent(happened.transfer_id, split(other)[1], amount, "", left, left)
        _add(log, stream, *codec.encode(sent), owner_id)
        _open(log, other, owner_id, amount, "2")
        refused = TransferRefused(amount, amount, happened.transfer_id, split(stream)[1], amount, happened.reason)
        _add(log, other, *codec.encode(refused), owner_id)


def _add_what_is_reversed(log: list[RecordedEvent], stream: str, owner_id: str, happened: Any) -> None:
    """At revision 2, and after it what leaves the balance that `happened` finds."""
    amount = happened.amount
    found = Money(amount.currency, happened.balance_after.minor - happened.moved)
    opened = Money(amount.currency, max(0, found.minor + happened.moved))
    moved = Money(amount.currency, opened.minor - happened.moved)
    _open(log, stream, owner_id, opened, "1")
    match happened:
        case DepositReversed():
            _add(log, stream, *codec.encode(MoneyDeposited(amount, "", moved)), owner_id)
        case WithdrawalReversed():
            _add(log, stream, *codec.encode(MoneyWithdrawn(amount, "", moved)), owner_id)
        case TransferSent(reverses_transfer_id=transfer_id, destination_account_id=payer):
            other, nothing = account_stream(payer), Money(amount.currency, 0)
            _open(log, other, owner_id, amount, "2")
            sent = TransferSent(transfer_id, split(stream)[1], amount, "", nothing, nothing)
            _add(log, other, *codec.encode(sent), owner_id)
            received = TransferReceived(amount, moved, moved, transfer_id, payer, "")
            _add(log, stream, *codec.encode(received), owner_id)
    if moved != found:
        spent = MoneyWithdrawn(moved.minus(found), "", found)
        _add(log, stream, *codec.encode(spent), owner_id)


def _held_before(happened: AccountEvent) -> int:
    match happened:
        case HoldCaptured():
            return happened.amount.minor + happened.released.minor + happened.remaining_after.minor
        case HoldReleased() | HoldExpired():
            return happened.amount.minor
        case TransferSent(hold_remaining_after=Money()) if happened.hold_remaining_after:
            return happened.amount.minor + happened.hold_remaining_after.minor
        case _:
            return 0


def _open(log: list[RecordedEvent], stream: str, owner_id: str, balance: Money, number: str) -> None:
    _add(log, stream, *codec.encode(AccountOpened(split(stream)[1], owner_id, number, balance)), owner_id)


def _add(log: list[RecordedEvent], stream: str, type: str, data: bytes, owner_id: str = "") -> None:
    position = len(log) + 1
    revision = sum(event.stream == stream for event in log) + 1
    metadata = Metadata(NOON + position, correlation_id="call 1", owner_id=owner_id)
    log.append(RecordedEvent(position, stream, revision, bytes(15) + bytes([position]), type, data, metadata))


async def _load(log: Sequence[RecordedEvent], stream: str) -> Any:
    """The aggregate of a stream, as its events make it."""
    store = MemoryStore()
    for event in log:
        new = NewEvent(event.id, event.type, event.data, event.metadata)
        await store.append(event.stream, event.revision - 1, [new])
    bank = WriteSide(store, lambda: NOON, 10)
    category, id = split(stream)
    kinds: Mapping[str, Any] = {
        "person": bank.persons,
        "account": bank.accounts,
        "request": bank.requests,
        "number": bank.numbers,
    }
    return await kinds[category].load(id)


@pytest.mark.parametrize("group", GROUPS)
def test_the_domain_has_no_event_without_a_row_and_no_row_without_an_event(group: str) -> None:
    union, rows = GROUPS[group]
    assert {row.event for row in rows} == set(get_args(union))
    assert len({row.event for row in codec.ROWS.values()}) == len(codec.ROWS) == sum(len(r) for _, r in GROUPS.values())


@pytest.mark.parametrize(("message", "events", "rows"), CONTRACT, ids=[message.name for message, *_ in CONTRACT])
def test_the_contract_has_a_payload_and_an_enum_value_for_every_row_and_no_other(
    message: Descriptor, events: Any, rows: Sequence[EventType]
) -> None:
    payloads = [field.message_type.full_name for field in message.oneofs_by_name["payload"].fields]
    assert sorted(payloads) == sorted(row.name for row in rows)
    numbers = [value.number for value in message.fields_by_name["type"].enum_type.values if value.number]
    assert events.read_types(None, "", numbers) == {row.name for row in rows}


@EVERY_TYPE
def test_it_has_an_example_in_the_frozen_corpus(type: str) -> None:
    assert examples(type)


@EVERY_TYPE
def test_the_event_comes_back_from_its_stored_form(type: str) -> None:
    for example in examples(type):
        encoded_as, data = codec.encode(example.happened)
        assert encoded_as == type
        assert codec.decode(type, data, split(example.event.stream)[1]) == example.happened
        assert codec.from_json(type, codec.to_json(type, data)) == data


@EVERY_TYPE
async def test_the_event_is_folded(type: str) -> None:
    for example in examples(type):
        folded = await _load(example.log, example.event.stream)
        assert folded.revision == example.event.revision
        for name in [name for name in dir(example.happened) if name.endswith("_after")]:
            if name.removesuffix("_after") in ("balance", "available", "state"):
                value = getattr(example.happened, name)
                assert value in (None, getattr(folded.state, name.removesuffix("_after")))


def _seen(account: Versioned[Account]) -> Versioned[Account]:
    """An account without what only commands need to know."""
    controls = replace(
        account.state.controls, holds=NO_HOLDS, holds_placed=0, last_hold=0, spent=None, reversals=NO_REVERSALS
    )
    return account._replace(state=replace(account.state, controls=controls))


@EVERY_TYPE
async def test_the_views_show_what_the_fold_makes_of_it(type: str, tmp_path: Path) -> None:
    views = SqliteViews(tmp_path)
    for example in examples(type):
        await views.clear(LOG)
        audit = Audit(pytest.fail)
        changes = [change for event in example.log for change in changes_of(audit.take(event))]
        await views.project(changes, example.event.place)
        category, id = split(example.event.stream)
        if category == ACCOUNT:
            folded = _seen(await _load(example.log, example.event.stream))
            assert await views.account(id) == folded
            assert await views.accounts_by_number(account_number_key(folded.state.account_number)) == [folded]
            assert (await views.account_events(id, 100, 1)) == [example.event]
        elif category == PERSON:
            assert await views.person(id) == await _load(example.log, example.event.stream)
        else:
            assert changes == []
    await views.close()


@ACCOUNT_TYPES
def test_a_statement_has_an_entry_by_how_much_it_moves_the_balance(row: EventType) -> None:
    for example in examples(row.name):
        happened = example.happened
        assert isinstance(happened, AccountEvent)
        entry = entry_of(happened)
        assert (entry.amount.minor if entry else 0) == happened.moved
        if entry:
            plain = StatementEntry(entry.amount)
            for name in ("description", "transfer_id", "hold_id", "tags"):
                assert getattr(entry, name) == getattr(happened, name, getattr(plain, name))


@ACCOUNT_TYPES
async def test_the_views_find_its_movement_by_its_reference_and_labels(row: EventType, tmp_path: Path) -> None:
    views = SqliteViews(tmp_path)
    for example in examples(row.name):
        assert isinstance(example.happened, AccountEvent)
        await views.clear(LOG)
        audit = Audit(pytest.fail)
        await views.project(
            [change for event in example.log for change in changes_of(audit.take(event))], example.event.place
        )
        entry, id = entry_of(example.happened), split(example.event.stream)[1]
        if entry is None:
            continue
        reference = entry.tags.external_reference
        filters = [MovementFilter(id), *(MovementFilter(id, label=label) for label in entry.tags.labels)]
        filters += [MovementFilter("", reference), MovementFilter(id, reference)] if reference else []
        for filter in filters:
            assert (await views.movements(filter, 100, 1))[0].event_id == example.event.id
    await views.close()


@EVERY_TYPE
def test_the_audit_follows_it_and_its_sums_agree(type: str) -> None:
    for example in examples(type):
        faults: list[str] = []
        audit = Audit(faults.append)
        for event in example.log:
            audit.take(event)
        audit.end()
        assert faults == []


@EVERY_TYPE
def test_it_is_published_as_its_row_says_or_stays_inside(type: str) -> None:
    published_as = codec.event_type(type).published_as
    for example in examples(type):
        published = cloud_event(example.event)
        if published_as is None:
            assert published is None
        else:
            assert published
            assert published.type == published_as
            assert cloudevent.to_json(published)["data"]


@PUBLIC_TYPES
def test_a_feed_sends_it_with_its_type_payload_and_balance(type: str) -> None:
    for example in examples(type):
        message = _from_feed(example.event)
        payload = getattr(message, message.WhichOneof("payload"))
        assert payload.DESCRIPTOR.full_name == type
        assert payload.SerializeToString() == example.event.data
        assert message.type
        if isinstance(example.happened, AccountEvent):
            assert message.balance == payload.balance_after
            assert message.balance.currency_code == example.happened.balance_after.currency.code


@PUBLIC_TYPES
def test_a_tail_prints_the_event(type: str) -> None:
    for example in examples(type):
        message = _from_feed(example.event)
        (line,) = TextLines(coloured=True)([message])
        assert message.WhichOneof("payload").upper() in line
        (line,) = json_lines([message])
        assert json.loads(line)[message.WhichOneof("payload")]


@ACCOUNT_TYPES
def test_a_server_that_does_not_know_the_type_sends_the_balance(row: EventType) -> None:
    """AccountOpened is older than the rule, and known to all."""
    if row.event is AccountOpened:
        return
    for example in examples(row.name):
        message = _from_feed(example.event._replace(type="openbank.accounts.v1.SomethingNewer"))
        assert message.WhichOneof("payload") is None
        assert message.balance == _from_feed(example.event).balance


@ACCOUNT_TYPES
def test_a_payload_states_the_balance_where_every_server_finds_it(row: EventType) -> None:
    fields = row.message.DESCRIPTOR.fields_by_name
    assert fields["balance_after"].message_type is MoneyMessage.DESCRIPTOR
    assert fields["currency_exponent"].type == fields["currency_exponent"].TYPE_INT32
    if row.event is not AccountOpened:
        for common in AccountPayload.DESCRIPTOR.fields:
            assert fields[common.name].number == common.number


def test_a_payload_that_is_not_a_message_has_no_balance() -> None:
    [example, *_] = examples("openbank.accounts.v1.MoneyDeposited")
    message = _from_feed(example.event._replace(type="openbank.accounts.v1.SomethingNewer", data=b"{}"))
    assert not message.HasField("balance")
    assert message.account_id == split(example.event.stream)[1]


def _from_feed(event: RecordedEvent) -> Any:
    responses: dict[str, Any] = {ACCOUNT: WatchAccountEventsResponse, PERSON: WatchPersonEventsResponse}
    response = responses[split(event.stream)[0]].FromString(encode(Entry(event), Form.EVENT))
    [message] = response.events
    return message

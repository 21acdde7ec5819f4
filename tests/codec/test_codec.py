"""Domain events to stored bytes and back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from openbank.accounts.v1 import account_events_pb2
from openbank.codec import events as codec
from openbank.codec.events import DomainEvent, UndecodableEvent, UnknownEventType
from openbank.domain.account_events import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.money import MAX_MINOR, Currency, Money
from openbank.domain.movements import OpenAccount
from openbank.domain.person import Address, Gender, Person, PersonAddressUpdated, PersonRegistered
from openbank.domain.tags import Label, Tags
from tests.examples import usd

TEXT = st.text(max_size=20)
MONEY = st.builds(
    Money,
    st.builds(Currency, st.from_regex(r"\A[A-Z]{3}\Z"), st.integers(0, 4)),
    st.integers(0, MAX_MINOR),
)
TAGS = st.builds(Tags, TEXT, st.lists(st.builds(Label, TEXT, TEXT), max_size=3).map(tuple))
ADDRESS = st.builds(Address, TEXT, TEXT, TEXT, TEXT)
PERSON = st.builds(Person, st.just("x"), TEXT, TEXT, TEXT, st.sampled_from(Gender), st.dates(), ADDRESS, TEXT)


@st.composite
def movements(draw: st.DrawFn) -> MoneyDeposited | MoneyWithdrawn:
    balance = draw(MONEY)
    amount = Money(balance.currency, draw(st.integers(1, MAX_MINOR)))
    return (MoneyDeposited if draw(st.booleans()) else MoneyWithdrawn)(amount, draw(TEXT), balance, tags=draw(TAGS))


EVENTS: st.SearchStrategy[DomainEvent] = st.one_of(
    st.builds(PersonRegistered, PERSON),
    st.builds(PersonAddressUpdated, ADDRESS, ADDRESS),
    st.builds(AccountOpened, st.just("x"), TEXT, TEXT, MONEY),
    movements(),
    st.builds(RequestClaimed, TEXT, st.binary(max_size=16), TEXT, TEXT),
    st.builds(
        AccountNumberReserved,
        st.builds(OpenAccount, TEXT, TEXT, TEXT, MONEY),
        st.binary(max_size=16),
        st.binary(max_size=16),
        TEXT,
        st.integers(0, 250_000_000_000_000_000),
    ),
)


@given(EVENTS)
def test_an_event_comes_back_as_it_was(event: DomainEvent) -> None:
    assert codec.decode(*codec.encode(event), "x") == event


@given(EVENTS)
def test_an_event_that_was_encoded_here_needs_no_decoding(event: DomainEvent) -> None:
    stored_type, data = codec.encode(event)
    made = codec.MadeHere(data)
    made.event = event
    assert codec.decode(stored_type, made, "x") is event


@given(EVENTS)
def test_json_says_all_that_binary_does(event: DomainEvent) -> None:
    stored_type, data = codec.encode(event)
    assert codec.from_json(stored_type, codec.to_json(stored_type, data)) == data


@given(EVENTS)
def test_json_is_protobufs_own_to_the_byte(event: DomainEvent) -> None:
    stored_type, data = codec.encode(event)
    # A type's name is its message's.
    descriptor = Default().FindMessageTypeByName(stored_type)  # type: ignore[no-untyped-call]
    message = GetMessageClass(descriptor).FromString(data)
    canonical = json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True)
    assert codec.to_json(stored_type, data).decode() == canonical


@given(EVENTS)
def test_the_same_event_is_always_the_same_bytes(event: DomainEvent) -> None:
    stored_type, data = codec.encode(event)
    assert codec.encode(codec.decode(stored_type, data, "x")) == (stored_type, data)


@given(st.sampled_from(codec.TYPES), st.binary(max_size=60))
def test_any_other_bytes_are_an_event_or_undecodable(stored_type: str, data: bytes) -> None:
    with suppress(UndecodableEvent):
        codec.decode(stored_type, data, "x")


@given(st.sampled_from(codec.TYPES), st.one_of(st.binary(max_size=30), st.text(max_size=30).map(str.encode)))
def test_any_other_json_is_an_event_or_undecodable(stored_type: str, json: bytes) -> None:
    with suppress(UndecodableEvent):
        codec.from_json(stored_type, json)


@pytest.mark.parametrize("exponent", [-1, 10, 2**31 - 1, -(2**31)])
def test_a_currency_of_impossible_decimals_is_undecodable(exponent: int) -> None:
    message = account_events_pb2.MoneyDeposited(currency_exponent=exponent)
    message.amount.units = message.balance_after.units = 1
    with pytest.raises(UndecodableEvent):
        codec.decode("openbank.accounts.v1.MoneyDeposited", message.SerializeToString(), "x")


def test_a_field_of_a_later_version_is_left_out() -> None:
    stored_type, data = codec.encode(MoneyDeposited(usd(1), "", usd(1)))
    later = data + b"\xa2\x06\x03new"  # field 100, of 3 bytes
    assert codec.decode(stored_type, later, "x") == MoneyDeposited(usd(1), "", usd(1))
    json = codec.to_json(stored_type, data).replace(b"{", b'{"reference": "new", ', 1)
    assert codec.from_json(stored_type, json) == data


def test_a_type_of_a_later_version_is_unknown() -> None:
    unknown = "openbank.accounts.v1.AccountPainted"
    for use in (
        lambda: codec.decode(unknown, b"", "x"),
        lambda: codec.to_json(unknown, b""),
        lambda: codec.from_json(unknown, b"{}"),
    ):
        with pytest.raises(UnknownEventType, match="AccountPainted"):
            use()


def test_the_types_of_the_bank_are_distinguished_from_those_of_other_programs() -> None:
    assert all(codec.is_ours(stored_type) for stored_type in codec.TYPES)
    assert codec.is_ours("openbank.accounts.v1.AccountPainted")
    for other in ("$metadata", "OrderPlaced", "Openbank.x", "openbanking.x", "openbank", ""):
        assert not codec.is_ours(other)


def test_json_has_the_names_of_the_contract() -> None:
    stored_type, data = codec.encode(MoneyDeposited(usd(1_050), "Salary", usd(2_000)))
    assert codec.to_json(stored_type, data) == (
        b'{"amount": {"currency_code": "USD", "units": "10", "nanos": 500000000}, "description": "Salary", '
        b'"balance_after": {"currency_code": "USD", "units": "20"}, "currency_exponent": 2}'
    )


def test_a_stored_type_is_the_name_of_its_message_and_no_python_path() -> None:
    for stored_type in codec.TYPES:
        assert stored_type.split(".")[0] == "openbank"
        assert codec.event_type(stored_type).message.DESCRIPTOR.full_name == stored_type

"""Events in responses are put together from encoded parts: byte for byte what protobuf makes of the same message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.accounts.v1.account_events_pb2 import (
    ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED,
    AccountEvent,
    AccountOpened,
    MoneyDeposited,
)
from openbank.accounts.v1.accounts_service_pb2 import ListAccountEventsResponse, WatchAccountEventsResponse
from openbank.common.v1.money_pb2 import Money
from openbank.eventstore.port import RECORD_TIME_MAX, Metadata, RecordedEvent
from openbank.persons.v1.person_events_pb2 import (
    PERSON_EVENT_TYPE_PERSON_REGISTERED,
    PersonEvent,
    PersonRegistered,
)
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsResponse
from openbank.rpc.convert.accounts import encode_account_event
from openbank.rpc.convert.persons import encode_person_event

ID, REQUEST_ID = UUID(int=0x0123456789ABCDEF0123456789ABCDEF), UUID(int=1 << 127)
TEN, FIVE = Money(currency_code="USD", units=10), Money(currency_code="USD", units=5, nanos=500_000_000)

texts = st.one_of(
    st.text(max_size=20), st.sampled_from(["x" * length for length in (127, 128, 16_383, 16_384, 70_000)])
)
metadata = st.builds(
    Metadata,
    record_time=st.one_of(
        st.integers(1, RECORD_TIME_MAX), st.sampled_from([1, 999_999, 1_000_000, 1_700_000_000_000_000])
    ),
    request_id=st.sampled_from([b"", REQUEST_ID.bytes]),
    request_hash=st.sampled_from([b"", b"hash"]),
    correlation_id=texts,
    causation_id=texts,
    owner_id=texts,
    actor=texts,
)
revisions = st.one_of(st.integers(1, 300), st.integers(1, 2**63 - 1))


@given(metadata, revisions, texts, st.booleans())
def test_an_account_event(metadata: Metadata, revision: int, description: str, shows_actor: bool) -> None:
    payload = MoneyDeposited(amount=FIVE, description=description, balance_after=TEN, available_after=FIVE)
    event = _event("account-a-1", revision, payload, metadata)
    expected = AccountEvent(
        account_id="a-1",
        type=ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED,
        owner_id=metadata.owner_id,
        balance=TEN,
        available_balance=FIVE,
        money_deposited=payload,
        **_common(event, shows_actor),
    )
    encoded = encode_account_event(event, shows_actor)
    assert encoded == WatchAccountEventsResponse(events=[expected]).SerializeToString()
    assert encoded == ListAccountEventsResponse(events=[expected]).SerializeToString()


@given(metadata, revisions, st.booleans())
def test_a_person_event(metadata: Metadata, revision: int, shows_actor: bool) -> None:
    payload = PersonRegistered(first_name="John", email="john@example.com")
    event = _event("person-john", revision, payload, metadata)
    expected = PersonEvent(
        person_id="john",
        type=PERSON_EVENT_TYPE_PERSON_REGISTERED,
        person_registered=payload,
        **_common(event, shows_actor),
    )
    encoded = encode_person_event(event, shows_actor)
    assert encoded == WatchPersonEventsResponse(events=[expected]).SerializeToString()


@pytest.mark.parametrize(
    "payload",
    [
        MoneyDeposited(amount=TEN, balance_after=TEN),
        AccountOpened(owner_id="john", initial_deposit=TEN, balance_after=TEN),
    ],
    ids=lambda payload: payload.DESCRIPTOR.name,
)
def test_without_an_available_balance_it_is_the_posted_one(payload: Any) -> None:
    [event] = WatchAccountEventsResponse.FromString(
        encode_account_event(_event("account-a", 1, payload, Metadata(1)), shows_actor=True)
    ).events
    assert event.balance == event.available_balance == TEN


def _event(stream: str, revision: int, payload: Any, metadata: Metadata) -> RecordedEvent:
    type_name, data = payload.DESCRIPTOR.full_name, payload.SerializeToString()
    return RecordedEvent(1, stream, revision, ID.bytes, type_name, data, metadata)


def _common(event: RecordedEvent, shows_actor: bool) -> dict[str, Any]:
    metadata = event.metadata
    seconds, rest = divmod(metadata.record_time, 1_000_000)
    return {
        "event_id": str(ID),
        "revision": event.revision,
        "record_time": {"seconds": seconds, "nanos": rest * 1000},
        "request_id": str(REQUEST_ID) if metadata.request_hash and metadata.request_id else "",
        "correlation_id": metadata.correlation_id,
        "causation_id": metadata.causation_id,
        "actor": metadata.actor if shows_actor else "",
    }

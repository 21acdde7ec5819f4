"""What holds for every integration event, whatever happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as TheirCloudEvent
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.codec import events as codec
from openbank.codec.events import DomainEvent, UndecodableEvent, UnknownEventType
from openbank.domain.account_events import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.internal import RequestClaimed
from openbank.domain.money import MAX_MINOR, Money
from openbank.domain.person import Address, Gender, Person, PersonAddressUpdated, PersonRegistered
from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.publishing import cloudevent
from openbank.publishing.cloudevent import CloudEvent
from openbank.publishing.events import cloud_event
from tests.examples import CURRENCIES, HOME, NOON, OFFICE, john, usd

# How long an example takes says how busy the machine is.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

SECRET = "Ida Secret"
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
ids = st.text("abcXYZ09_-", min_size=1, max_size=64)
amounts = st.builds(Money, st.sampled_from(CURRENCIES), st.integers(0, MAX_MINOR))
addresses = st.builds(Address, texts, texts, texts, texts)
persons = st.builds(Person, ids, texts, texts, texts, st.sampled_from(Gender), st.dates(), addresses, texts)


@st.composite
def movements(draw: st.DrawFn) -> DomainEvent:
    amount, text = draw(amounts), draw(texts)
    balance = Money(amount.currency, draw(st.integers(0, MAX_MINOR)))
    came_in = draw(st.booleans())
    return MoneyDeposited(amount, text, balance) if came_in else MoneyWithdrawn(amount, text, balance)


events: st.SearchStrategy[tuple[str, DomainEvent]] = st.one_of(
    st.tuples(st.just("person"), st.builds(PersonRegistered, persons)),
    st.tuples(st.just("person"), st.builds(PersonAddressUpdated, addresses, addresses)),
    st.tuples(st.just("account"), st.builds(AccountOpened, ids, ids, texts, amounts)),
    st.tuples(st.just("account"), movements()),
)


@st.composite
def recorded_events(draw: st.DrawFn) -> RecordedEvent:
    category, event = draw(events)
    type, data = codec.encode(event)
    metadata = Metadata(
        draw(st.integers(0, 2**52)),
        correlation_id=draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=128)),
        causation_id=str(draw(st.uuids())) if draw(st.booleans()) else "",
        owner_id=draw(ids) if category == "account" else "",
    )
    return RecordedEvent(
        draw(st.integers(1, 2**63 - 1)),
        f"{category}-{draw(ids)}",
        draw(st.integers(1, 2**63 - 1)),
        draw(st.uuids()).bytes,
        type,
        data,
        metadata,
    )


@untimed
@given(st.lists(recorded_events(), max_size=20, unique_by=lambda event: event.id), st.integers(1, 2**63 - 1))
def test_an_id_is_permanent_and_unique_to_its_event(log: Sequence[RecordedEvent], elsewhere: int) -> None:
    made = [published(event) for event in log]
    assert [UUID(event.id).bytes for event in made] == [event.id for event in log]
    assert len({(event.source, event.id) for event in made}) == len(log)
    # In a copy of the bank an event has another position, and a receiver of the copy's events must recognise it.
    assert [published(event._replace(position=elsewhere)) for event in log] == made


@untimed
@given(recorded_events())
def test_its_json_is_read_and_written_alike_by_the_cloudevents_library(event: RecordedEvent) -> None:
    ours = cloudevent.to_json(published(event))
    read = JSONFormat().read(TheirCloudEvent, json.dumps(ours).encode())
    time = EPOCH + timedelta(microseconds=event.metadata.record_time)
    assert (read.get_id(), read.get_type(), read.get_source()) == (ours["id"], ours["type"], ours["source"])
    assert (read.get_subject(), read.get_time()) == (event.stream.partition("-")[2], time)
    assert read.get_data() == ours["data"]
    written = json.loads(JSONFormat().write(read))
    # The same moment may have fewer digits.
    assert datetime.fromisoformat(written.pop("time")) == datetime.fromisoformat(ours.pop("time")) == time
    assert written == ours


@untimed
@given(recorded_events())
def test_both_forms_say_the_same(event: RecordedEvent) -> None:
    made = published(event)
    in_json, in_protobuf = cloudevent.to_json(made), cloudevent.to_protobuf(made)
    data = type(made.data)()
    assert in_protobuf.proto_data.Unpack(data)
    assert json_format.ParseDict(in_json["data"], type(made.data)()) == data == made.data
    kinds = {name: value.WhichOneof("attr") or "" for name, value in in_protobuf.attributes.items()}
    told = {name: getattr(value, kinds[name]) for name, value in in_protobuf.attributes.items()}
    told["time"] = told["time"].ToJsonString()
    told |= {name: getattr(in_protobuf, name) for name in ("id", "source", "type")}
    assert told.pop("datacontenttype") == "application/protobuf"
    assert {**told, "specversion": in_protobuf.spec_version} == cloudevent.attributes(made)


@untimed
@given(st.lists(st.integers(1, 2**63 - 1), min_size=2, max_size=2))
def test_sequences_sort_as_text_as_revisions_do_as_numbers(revisions: list[int]) -> None:
    event = some_event("person-john", PersonRegistered(john()))
    one, other = (published(event._replace(revision=revision)).sequence for revision in revisions)
    assert (one < other) == (revisions[0] < revisions[1])
    assert int(one) == revisions[0]


def test_every_attribute_has_a_name_that_cloudevents_allows() -> None:
    event = some_event("account-a", MoneyDeposited(usd(1), "", usd(1)), correlation=TRACEPARENT, causation="before")
    names = cloudevent.to_json(published(event)).keys()
    assert "traceparent" in names
    assert all(name.isalnum() and name == name.lower() and len(name) <= 20 for name in names)


@pytest.mark.parametrize(
    ("correlation_id", "traceparent"),
    [
        (TRACEPARENT, TRACEPARENT),
        ("checkout 7", ""),
        ("", ""),
        (f"{TRACEPARENT} ", ""),
        (TRACEPARENT.upper(), ""),
        (f"01{TRACEPARENT[2:]}", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", ""),
    ],
)
def test_trace_context_is_passed_on_and_never_invented(correlation_id: str, traceparent: str) -> None:
    event = some_event("person-john", PersonRegistered(john()), correlation=correlation_id)
    attributes = cloudevent.attributes(published(event))
    assert attributes.get("traceparent", "") == traceparent
    assert attributes.get("correlationid", "") == correlation_id


def test_a_person_and_an_account_of_one_id_have_partitions_of_their_own() -> None:
    person = published(some_event("person-x", PersonRegistered(john(person_id="x"))))
    account = published(some_event("account-x", MoneyDeposited(usd(1), "", usd(1))))
    assert person.subject == account.subject == "x"
    assert person.partitionkey != account.partitionkey


def test_events_that_no_other_system_needs_stay_inside() -> None:
    secret_address = Address(SECRET, SECRET, SECRET, SECRET)
    person = john(nationality=SECRET, gender=Gender.OTHER, date_of_birth=date(1911, 1, 11), address=secret_address)
    for stream, event in (
        ("person-john", PersonRegistered(person)),
        ("person-john", PersonAddressUpdated(secret_address, HOME)),
        ("account-a", MoneyDeposited(usd(1), SECRET, usd(1))),
        ("account-a", MoneyWithdrawn(usd(1), SECRET, usd(1))),
    ):
        said = json.dumps(cloudevent.to_json(published(some_event(stream, event))))
        assert not any(secret in said for secret in (SECRET, "1911", "OTHER"))


def test_a_name_without_a_half_has_no_space_at_its_ends() -> None:
    event = some_event("person-john", PersonRegistered(john(first_name="", last_name="Doe")))
    assert cloudevent.data_to_json(published(event))["full_name"] == "Doe"


def test_internal_events_and_those_of_other_programs_are_not_published() -> None:
    claimed = some_event("request-1", RequestClaimed("Deposit", b"", "a"))
    moved = some_event("account-a", PersonAddressUpdated(HOME, OFFICE))
    assert cloud_event(claimed) is None
    assert cloud_event(moved._replace(type="other.Moved")) is None
    assert cloud_event(moved._replace(type="$metadata")) is None
    assert cloud_event(moved._replace(stream="others-1")) is None


def test_an_event_of_a_newer_version_is_an_error_and_not_skipped() -> None:
    event = some_event("account-a", MoneyDeposited(usd(1), "", usd(1)))
    with pytest.raises(UnknownEventType):
        cloud_event(event._replace(type="openbank.accounts.v1.AccountPainted"))
    with pytest.raises(UndecodableEvent):
        cloud_event(event._replace(data=b"\xff"))


def published(event: RecordedEvent) -> CloudEvent:
    made = cloud_event(event)
    assert made is not None
    return made


def some_event(stream: str, event: DomainEvent, correlation: str = "", causation: str = "") -> RecordedEvent:
    type, data = codec.encode(event)
    metadata = Metadata(NOON, correlation_id=correlation, causation_id=causation)
    return RecordedEvent(1, stream, 1, UUID(int=1).bytes, type, data, metadata)

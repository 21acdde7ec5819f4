"""On the wire our CloudEvent is the CloudEvents project's own, read here with its message, which no library brings."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.integration.v1 import account_integration_events_pb2, cloud_event_pb2, person_integration_events_pb2
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsResponse
from tests.publishing.golden import TYPES, protobuf_of

MESSAGES: dict[str, type[Message]] = {
    "person.registered.v1": person_integration_events_pb2.PersonRegistered,
    "person.address_updated.v1": person_integration_events_pb2.PersonAddressUpdated,
    "account.opened.v1": account_integration_events_pb2.AccountOpened,
    "money.deposited.v1": account_integration_events_pb2.MoneyDeposited,
    "money.withdrawn.v1": account_integration_events_pb2.MoneyWithdrawn,
    "account.frozen.v1": account_integration_events_pb2.AccountFrozen,
    "account.unfrozen.v1": account_integration_events_pb2.AccountUnfrozen,
    "account.closed.v1": account_integration_events_pb2.AccountClosed,
    "hold.placed.v1": account_integration_events_pb2.HoldPlaced,
    "hold.captured.v1": account_integration_events_pb2.HoldCaptured,
    "hold.released.v1": account_integration_events_pb2.HoldReleased,
    "hold.expired.v1": account_integration_events_pb2.HoldExpired,
    "transfer.sent.v1": account_integration_events_pb2.TransferSent,
    "transfer.received.v1": account_integration_events_pb2.TransferReceived,
    "transfer.returned.v1": account_integration_events_pb2.TransferReturned,
    "deposit.reversed.v1": account_integration_events_pb2.DepositReversed,
    "withdrawal.reversed.v1": account_integration_events_pb2.WithdrawalReversed,
}
STRING, BOOL, INT32, BYTES, MESSAGE = (
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
)
REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def add(message: Any, number: int, name: str, kind: Any, type_name: str = "", oneof: int | None = None) -> Any:
    field = message.field.add(number=number, name=name, type=kind, label=1)
    if type_name:
        field.type_name = type_name
    if oneof is not None:
        field.oneof_index = oneof
    return field


def official_file() -> Any:
    """cloudevents/formats/cloudevents.proto of the specification, message by message."""
    file = descriptor_pb2.FileDescriptorProto(name="cloudevents.proto", package="io.cloudevents.v1", syntax="proto3")
    file.dependency.extend([any_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name])
    event = file.message_type.add(name="CloudEvent")
    for number, name in enumerate(("id", "source", "spec_version", "type"), start=1):
        add(event, number, name, STRING)
    add(event, 5, "attributes", MESSAGE, ".io.cloudevents.v1.CloudEvent.AttributesEntry").label = REPEATED
    event.oneof_decl.add(name="data")
    add(event, 6, "binary_data", BYTES, oneof=0)
    add(event, 7, "text_data", STRING, oneof=0)
    add(event, 8, "proto_data", MESSAGE, ".google.protobuf.Any", oneof=0)
    value = event.nested_type.add(name="CloudEventAttributeValue")
    value.oneof_decl.add(name="attr")
    add(value, 1, "ce_boolean", BOOL, oneof=0)
    add(value, 2, "ce_integer", INT32, oneof=0)
    add(value, 3, "ce_string", STRING, oneof=0)
    add(value, 4, "ce_bytes", BYTES, oneof=0)
    add(value, 5, "ce_uri", STRING, oneof=0)
    add(value, 6, "ce_uri_ref", STRING, oneof=0)
    add(value, 7, "ce_timestamp", MESSAGE, ".google.protobuf.Timestamp", oneof=0)
    entry = event.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    add(entry, 1, "key", STRING)
    add(entry, 2, "value", MESSAGE, ".io.cloudevents.v1.CloudEvent.CloudEventAttributeValue")
    batch = file.message_type.add(name="CloudEventBatch")
    add(batch, 1, "events", MESSAGE, ".io.cloudevents.v1.CloudEvent").label = REPEATED
    return file


def official(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"io.cloudevents.v1.{name}"))


POOL: Any = descriptor_pool.DescriptorPool()
for needed in (any_pb2, timestamp_pb2):
    POOL.AddSerializedFile(needed.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(official_file().SerializeToString())
Event, Batch = official("CloudEvent"), official("CloudEventBatch")


@pytest.mark.parametrize("type", TYPES)
def test_the_official_event_reads_ours_and_writes_the_same_bytes(type: str) -> None:
    golden = protobuf_of(type).read_bytes()
    event = Event.FromString(golden)
    assert (event.spec_version, event.type) == ("1.0", type)
    assert event.SerializeToString(deterministic=True) == golden
    kinds = {name: value.WhichOneof("attr") for name, value in event.attributes.items()}
    assert kinds.pop("time") == "ce_timestamp"
    assert kinds.pop("dataschema") == "ce_uri"
    assert set(kinds.values()) == {"ce_string"}


@pytest.mark.parametrize("type", TYPES)
def test_its_data_is_the_message_that_dataschema_names(type: str) -> None:
    event = Event.FromString(protobuf_of(type).read_bytes())
    assert event.WhichOneof("data") == "proto_data"
    assert event.attributes["dataschema"].ce_uri == f"https://{event.proto_data.type_url}"
    data: Any = MESSAGES[type]()
    assert data.DESCRIPTOR.full_name == event.proto_data.type_url.removeprefix("type.googleapis.com/")
    data.ParseFromString(event.proto_data.value)
    assert data.timestamp.ToNanoseconds() == event.attributes["time"].ce_timestamp.ToNanoseconds()


def test_a_response_of_the_feed_is_an_official_batch() -> None:
    response = WatchCloudEventsResponse(resume_token="token", caught_up=True, as_of_time=Timestamp(seconds=1))
    for type in TYPES:
        response.events.add().ParseFromString(protobuf_of(type).read_bytes())
    batch = Batch.FromString(response.SerializeToString())
    assert [event.type for event in batch.events] == list(TYPES)
    assert [event.SerializeToString(deterministic=True) for event in batch.events] == [
        protobuf_of(type).read_bytes() for type in TYPES
    ]


def test_our_message_declares_what_the_official_one_does() -> None:
    ours, declared = descriptor_pb2.DescriptorProto(), cloud_event_pb2.CloudEvent.DESCRIPTOR
    declared.CopyToProto(ours)  # type: ignore[no-untyped-call]
    theirs = next(message for message in official_file().message_type if message.name == "CloudEvent")
    assert shape(ours) == shape(theirs)


def shape(message: Any) -> dict[str, Any]:
    """Numbers, names and types, whatever package it is in."""
    fields = {field.number: (field.name, field.type, field.label) for field in message.field}
    return {"fields": fields, **{nested.name: shape(nested) for nested in message.nested_type}}

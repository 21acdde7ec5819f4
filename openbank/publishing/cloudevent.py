"""An integration event as a CloudEvent 1.0, and its two forms: JSON in structured mode, and protobuf.

https://github.com/cloudevents/spec: the core, the JSON and protobuf formats, and the extensions partitioning, sequence,
correlation and distributed tracing.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.integration.v1 import cloud_event_pb2

SPEC_VERSION = "1.0"
JSON = "application/json"
PROTOBUF = "application/protobuf"
TYPE_URL_PREFIX = "type.googleapis.com/"
SEQUENCE_DIGITS = 19
"""As many as the largest revision has. CloudEvents wants sequences that sort as text."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class CloudEvent(NamedTuple):
    """Fields are the attributes' own names."""

    id: str
    """The domain event's UUID, in lower case: the same in every delivery of the event."""
    source: str
    """"openbank.persons" or "openbank.accounts"."""
    type: str
    """"person.registered.v1"."""
    subject: str
    """Id of the person or account."""
    time: int
    """Record time, in microseconds since 1970 UTC."""
    partitionkey: str
    """"account-1234": of the person or account, and of no other person or account."""
    sequence: str
    """The revision, from 1, in SEQUENCE_DIGITS digits."""
    data: Message
    """A message of `openbank.integration.v1`. Shared by all who have this value: not to be changed."""
    correlationid: str = ""
    causationid: str = ""
    """Empty attributes are not sent."""

    @property
    def dataschema(self) -> str:
        """A URI, as CloudEvents asks, which the type URL in a google.protobuf.Any is only with its scheme said."""
        return f"https://{TYPE_URL_PREFIX}{self.data.DESCRIPTOR.full_name}"

    @property
    def traceparent(self) -> str:
        """W3C trace context of the call behind the event, where its correlation id is one; else empty.

        Nothing else of a trace is stored, and one that is made up would lead nowhere.
        """
        return self.correlationid if is_traceparent(self.correlationid) else ""


def is_traceparent(text: str) -> bool:
    """Whether it is a W3C trace context of version 00, with ids that are not all zeros."""
    return _TRACEPARENT.fullmatch(text) is not None


def attributes(event: CloudEvent) -> dict[str, str]:
    """All context attributes that do not depend on the form, in CloudEvents' own text form of each type.

    Left out is datacontenttype, which does.
    """
    named = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": _timestamp(event.time).ToJsonString(),
        "dataschema": event.dataschema,
        "partitionkey": event.partitionkey,
        "sequence": event.sequence,
        "correlationid": event.correlationid,
        "causationid": event.causationid,
        "traceparent": event.traceparent,
    }
    return {name: value for name, value in named.items() if value}


def data_to_json(event: CloudEvent) -> dict[str, Any]:
    """The data in protobuf's canonical JSON mapping, with the names of the proto files."""
    return json_format.MessageToDict(event.data, preserving_proto_field_name=True)


def to_json(event: CloudEvent) -> dict[str, Any]:
    """The JSON object of structured mode, application/cloudevents+json."""
    return {**attributes(event), "datacontenttype": JSON, "data": data_to_json(event)}


def to_protobuf(event: CloudEvent) -> cloud_event_pb2.CloudEvent:
    message = cloud_event_pb2.CloudEvent()
    fill_protobuf(message, event)
    return message


def fill_protobuf(message: cloud_event_pb2.CloudEvent, event: CloudEvent) -> None:
    """Fills in an empty message: by assignment, as messages are filled everywhere."""
    message.id = event.id
    message.source = event.source
    message.spec_version = SPEC_VERSION
    message.type = event.type
    values = message.attributes
    for name in ("subject", "partitionkey", "sequence", "correlationid", "causationid", "traceparent"):
        value = getattr(event, name)
        if value:
            values[name].ce_string = value
    values["datacontenttype"].ce_string = PROTOBUF
    values["dataschema"].ce_uri = event.dataschema
    values["time"].ce_timestamp.CopyFrom(_timestamp(event.time))
    message.proto_data.Pack(event.data, type_url_prefix=TYPE_URL_PREFIX, deterministic=True)


def _timestamp(microseconds: int) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(microseconds)
    return time

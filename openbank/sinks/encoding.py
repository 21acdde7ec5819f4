"""CloudEvents as messages, by the bindings of the `cloudevents` library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as BoundEvent

from openbank.publishing.cloudevent import JSON, CloudEvent, attributes, data_to_json
from openbank.sinks.address import BATCHED, BINARY

CONTENT_TYPE = "content-type"
BATCH = "application/cloudevents-batch+json"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMAT = JSONFormat()


def encode(mode: str, events: Sequence[CloudEvent]) -> HTTPMessage:
    """Header names are in lower case. Of several events only batched mode makes a message."""
    if mode == BATCHED:
        body = b"[" + b",".join(_FORMAT.write(_bound(event)) for event in events) + b"]"
        return HTTPMessage({CONTENT_TYPE: BATCH}, body)
    (event,) = events
    return (to_binary if mode == BINARY else to_structured)(_bound(event), _FORMAT)


def _bound(event: CloudEvent) -> BoundEvent:
    time = _EPOCH + timedelta(microseconds=event.time)
    return BoundEvent({**attributes(event), "time": time, "datacontenttype": JSON}, data_to_json(event))

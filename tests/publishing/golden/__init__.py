"""Integration events as they are published, for good: one of each type, made of a stored event of the frozen corpus."""

from __future__ import annotations

import base64
from pathlib import Path
from uuid import UUID

from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.publishing.cloudevent import CloudEvent
from openbank.publishing.events import STORED_TYPES, cloud_event
from tests.eventstore.corpus import lines
from tests.examples import NOON

TYPES = tuple(STORED_TYPES)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def json_of(type: str) -> Path:
    return Path(__file__).with_name(f"{type}.json")


def protobuf_of(type: str) -> Path:
    return Path(__file__).with_name(f"{type}.binpb")


def recorded(type: str) -> RecordedEvent:
    """The first event of the corpus that is published under `type`, with what the store keeps beside it."""
    line = next(line for line in lines() if line["type"] == STORED_TYPES[type])
    number = TYPES.index(type) + 1
    return RecordedEvent(
        position=number,
        stream=line["stream"],
        revision=number,
        id=UUID(int=number).bytes,
        type=line["type"],
        data=base64.b64decode(line["data"]),
        metadata=Metadata(
            NOON + number,
            correlation_id=TRACEPARENT if type.startswith("money.") else "checkout 7",
            causation_id=str(UUID(int=99)) if type == "money.withdrawn.v1" else "",
        ),
    )


def published(type: str) -> CloudEvent:
    event = cloud_event(recorded(type))
    assert event is not None
    return event

"""Recorded events to the contract's event messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from openbank.domain.fields import Fields
from openbank.eventstore.port import RecordedEvent, show_uuid
from openbank.eventstore.streams import split
from openbank.rpc.convert.values import fill_time, read_enums


class _Type(NamedTuple):
    number: int
    payload: str


class Events:
    """The event types of one kind of aggregate, as its event message has them.

    The message's oneof is the table: the member `money_deposited` holds what is stored under the full name of its
    message, and its type is the enum's value that ends in MONEY_DEPOSITED.
    """

    def __init__(self, event: type[Message], enum: Any) -> None:
        prefix = _prefix(enum)
        self._types = {
            member.message_type.full_name: _Type(enum.Value(prefix + member.name.upper()), member.name)
            for member in event.DESCRIPTOR.oneofs_by_name["payload"].fields
        }
        self._names = {type.number: name for name, type in self._types.items()}

    def fill(self, message: Any, event: RecordedEvent) -> str:
        """Fills in what events of every kind have, and returns the aggregate's id.

        A type that this version does not know keeps its place, its revision and its times, with no type or payload.
        """
        metadata = event.metadata
        message.event_id = show_uuid(event.id)
        message.revision = event.revision
        fill_time(message.record_time, metadata.record_time)
        if metadata.request_hash:
            message.request_id = show_uuid(metadata.request_id)
        message.correlation_id = metadata.correlation_id
        message.causation_id = metadata.causation_id
        message.actor = metadata.actor
        known = self._types.get(event.type)
        if known:
            message.type = known.number
            # The stored payload is the published one, byte for byte.
            getattr(message, known.payload).MergeFromString(event.data)
        return split(event.stream)[1]

    def number(self, type: str) -> int:
        """The enum's value of a stored type; 0 for one that this version does not know."""
        known = self._types.get(type)
        return known.number if known else 0

    def read_types(self, fields: Fields, path: str, numbers: Sequence[int]) -> frozenset[str]:
        """The stored names of the types that a filter lists."""
        return frozenset(read_enums(fields, path, numbers, self._names, "event type"))


def without_actor(event: RecordedEvent) -> RecordedEvent:
    """The event for those who may not see who caused it."""
    if not event.metadata.actor:
        return event
    return event._replace(metadata=event.metadata._replace(actor=""))


def _prefix(enum: Any) -> str:
    """What the names of an enum's values begin with: ACCOUNT_EVENT_TYPE_."""
    return str(enum.Name(0).removesuffix("UNSPECIFIED"))

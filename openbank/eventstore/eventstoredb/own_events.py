"""Events that this process has appended, kept until the log returns them, so that they need not be decoded."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.port import Metadata

EVENTS_MAX = 1_000
"""The subscription returns them within milliseconds. They take about 2 KB each."""


class Sent(NamedTuple):
    """The content of an event, and the bytes that were sent."""

    type: str
    data: bytes
    metadata: Metadata
    stored_data: bytes
    stored_metadata: bytes


class OwnEvents:
    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Sent] = OrderedDict()

    def note(self, event_id: bytes, known: Sent) -> None:
        """Call when the event is about to be appended."""
        self._known[event_id] = known
        if len(self._known) > EVENTS_MAX:
            self._known.popitem(last=False)

    def take(self, event: Stored) -> Sent | None:
        """The content of this event, if it is stored byte for byte as it was sent. Forgets it."""
        known = self._known.pop(event.id, None)
        if known is None or (known.type, *known[3:]) != (event.type, event.data, event.metadata):
            return None
        return known

"""Events that this process has appended, until the log gives them back: they need not be decoded again."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.port import Metadata

EVENTS_MAX = 1_000
"""The subscription gives them back within milliseconds. They take about 1 KB each."""


class Sent(NamedTuple):
    """What an event holds, and how it was sent."""

    type: str
    data: bytes
    metadata: Metadata
    stored_data: bytes
    stored_metadata: bytes


class OwnEvents:
    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Sent] = OrderedDict()

    def note(self, event_id: bytes, known: Sent) -> None:
        """It is being appended."""
        self._known[event_id] = known
        if len(self._known) > EVENTS_MAX:
            self._known.popitem(last=False)

    def take(self, event: Stored) -> Sent | None:
        """What this event holds, if it is stored byte for byte as it was sent. It is given back once."""
        known = self._known.pop(event.id, None)
        if known is None or (known.type, *known[3:]) != (event.type, event.data, event.metadata):
            return None
        return known

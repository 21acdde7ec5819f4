"""What the stored form knows of an event type: one row, in `accounts`, `persons` or `internal`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message


class EventType(NamedTuple):
    """A stored type. Its name is the full name of its message, never a Python path: code may move, history may not."""

    event: type[Any]
    """The domain class."""
    message: type[Message]
    encode: Callable[[Any], Message]
    """From the domain event."""
    decode: Callable[[Any, str], Any]
    """From the message and the id in the stream's name, which the payload of a first event does not repeat.

    Raises ValueError for a payload that the bank cannot have written.
    """
    published_as: str | None
    """The type of the integration event that `publishing` makes of it; None for one that stays inside the bank."""

    @property
    def name(self) -> str:
        return str(self.message.DESCRIPTOR.full_name)

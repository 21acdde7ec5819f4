"""What some stores can do beyond the port, such as keeping payloads as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from openbank.eventstore.port import EventStore, LogPosition, LogSlice, RecordedEvent
from openbank.eventstore.seal import TokenKey


@runtime_checkable
class KeepsPayloads(Protocol):
    """A store with its own formats of payloads and metadata, which may hold more than this version knows."""

    async def read_log_as_stored(self, after: LogPosition, limit: int) -> LogSlice:
        """Like `read_log`, with each payload as a StoredPayload. `append` stores such payloads unchanged."""
        ...

    async def read_stream_as_stored(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent]:
        """The same for one stream, with gaps where it has lost events."""
        ...


@runtime_checkable
class ListsTypes(Protocol):
    """A store that knows the types of its events without reading them."""

    def types(self) -> Sequence[str]:
        """The stored types of all events."""
        ...

    def events_of_type(self, type_name: str) -> Sequence[tuple[str, int]]:
        """Stream and revision of each event of this type, in order. Takes time in proportion to the log."""
        ...


class HasTokenKey(EventStore, Protocol):
    """A store that keeps, beside the bank's id, the key that tokens are sealed with."""

    @property
    def token_key(self) -> TokenKey:
        """Random, made once, the same in every copy of the log. Must not be logged or shown."""
        ...


class OldNumbers(Protocol):
    """Account numbers that earlier versions reserved with hyphens in the streams' names."""

    @property
    def numbers_adopted(self) -> bool:
        """Whether all of them have been reserved without hyphens. True from the beginning in a store that this version
        made."""
        ...

    async def hyphenated_number_streams(self) -> Sequence[str]:
        """All streams of account numbers with a hyphen. Takes time in proportion to the log."""
        ...

    async def note_numbers_adopted(self) -> None:
        """Stores permanently that they have been."""
        ...

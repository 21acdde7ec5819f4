"""The record of a sink: its place in the log, and what it refused.

One conformance suite, `tests/sinks/conformance.py`, checks each adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from openbank.eventstore.port import LogPosition

NEW = 0
"""The version of a sink that has no record yet."""


class Parked(NamedTuple):
    """An aggregate whose events are held back: the sink refused one, or failed on it, or an operator parked it.

    `revision` is the first that the sink does not have, `reason` why it is parked, and `time` since when, in
    microseconds since 1970 UTC. While `retrying`, the sender sends from `revision` on.
    """

    revision: int
    reason: str
    time: int
    retrying: bool = False


class Trouble(NamedTuple):
    """Why nothing can be sent, and since when, in microseconds since 1970 UTC.

    `aggregate` and `revision` name the event that the sink failed on; empty and 0 if no event is the cause.
    """

    reason: str
    since: int
    aggregate: str = ""
    revision: int = 0


class SinkRecord(NamedTuple):
    """All of the log up to `place` was accepted by the sink, or holds what is parked or was skipped.

    The place is one in the store `store_id` of the bank `bank_id`; another copy of the log finds it by its stream and
    revision. It was reached at `position_time`, in microseconds since 1970 UTC. `parked` is by the name
    of the aggregate's stream.
    """

    bank_id: str
    store_id: str
    place: LogPosition
    position_time: int
    parked: Mapping[str, Parked] = {}
    trouble: Trouble | None = None


class StoredRecord(NamedTuple):
    """A record as it was read. Its version changes with every change."""

    record: SinkRecord
    version: int


class RecordsUnavailable(Exception):
    """The records cannot be reached. A save may have been done: load the record again."""


class SinkRecords(Protocol):
    """The records of all sinks, by the sink's name.

    Durable: a successful `save` survives a crash. Whole: place and parked aggregates are saved together. Exact: of
    several changes to the same version one succeeds, in whichever instances they are made. Every method may raise
    RecordsUnavailable.
    """

    async def load(self, sink: str) -> StoredRecord | None: ...

    async def save(self, sink: str, record: SinkRecord, version: int) -> int | None:
        """Replaces the record if it is still at `version`, NEW for one that must not be there yet.

        Returns the new version; None if another change was faster, and nothing was changed.
        """
        ...

    async def close(self) -> None: ...

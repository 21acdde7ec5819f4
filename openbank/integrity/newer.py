"""The events that this process has found and only a newer version of the bank knows.

They are not a fault: nothing about them is stored, and a restart with the newer version is enough.
"""

from __future__ import annotations

import logging

from openbank.codec.events import is_newer
from openbank.eventstore.errors import NewerVersionNeeded, StoreRefused
from openbank.eventstore.extensions import ListsTypes
from openbank.eventstore.port import EventStore, KeptRecord
from openbank.eventstore.quarantine_record import decode_record

STREAMS_MAX = 10_000
"""The most streams remembered, about 300 bytes each. Commands find others again by themselves."""

_log = logging.getLogger(__name__)


def check_types(store: EventStore, quarantine: KeptRecord) -> None:
    """Raises StoreRefused for a log with an event of a newer version, if the store lists its types.

    Events that an operator has skipped do not count.
    """
    if not isinstance(store, ListsTypes):
        return
    unknown = [name for name in store.types() if is_newer(name)]
    if not unknown:
        return
    skipped = decode_record(quarantine.data).skipped
    for type_name in unknown:
        for stream, revision in store.events_of_type(type_name):
            if revision not in skipped.get(stream, ()):
                raise StoreRefused(
                    f"the log has an event of the type {type_name} ({stream}, revision {revision}), which only a newer"
                    " version of OpenBank knows: start the version that wrote it, or a later one"
                )


class NewerEvents:
    """The first such event of each stream that has one."""

    def __init__(self) -> None:
        self._first: dict[str, NewerVersionNeeded] = {}
        self._logged: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._first)

    def of(self, stream: str, revision: int | None = None) -> NewerVersionNeeded | None:
        """The stream's first such event; with a revision, only if that revision is not before it."""
        met = self._first.get(stream)
        return met if met and (revision is None or revision >= met.revision) else None

    def check(self, stream: str) -> None:
        """Raises NewerVersionNeeded."""
        met = self._first.get(stream)
        if met:
            raise met.again()

    def meet(self, error: NewerVersionNeeded) -> NewerVersionNeeded:
        """Remembers the event. Logs one line for each type or state."""
        if error.unknown not in self._logged:
            self._logged.add(error.unknown)
            values = {"aggregate": error.stream, "revision": error.revision, "unknown": error.unknown}
            _log.error("newer version needed", extra={"values": values})
        known = self._first.get(error.stream)
        if (known and error.revision < known.revision) or (not known and len(self._first) < STREAMS_MAX):
            self._first[error.stream] = error.again()
        return self._first.get(error.stream) or error.again()

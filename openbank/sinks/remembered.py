"""Records that this process restores if the database has lost acknowledged ones.

A database may be emptied or replaced by an older copy while the bank runs. A sink that starts at the end of the log
would then skip events, and another sink would send events again.
"""

from __future__ import annotations

import logging

from openbank.sinks.port import NEW, RecordsUnavailable, SinkRecord, SinkRecords, StoredRecord

TRIES_MAX = 5

_log = logging.getLogger(__name__)


class RememberedRecords:
    """`SinkRecords` that never fall behind what this process has seen."""

    def __init__(self, records: SinkRecords) -> None:
        self._records = records
        self._seen: dict[str, StoredRecord] = {}

    async def load(self, sink: str) -> StoredRecord | None:
        for _ in range(TRIES_MAX):
            stored = await self._records.load(sink)
            seen = self._seen.get(sink)
            if seen is None or (stored is not None and stored.version >= seen.version):
                if stored is not None:
                    self._seen[sink] = stored
                return stored
            # The save is exact, so a stale read, as after a failover, changes nothing.
            if await self.save(sink, seen.record, stored.version if stored else NEW) is not None:
                values = {"sink": sink, "position": seen.record.place.position}
                _log.warning("sink's place is put back: the database has lost it", extra={"values": values})
                return self._seen[sink]
        raise RecordsUnavailable(f"the record of the sink {sink} is older than it was")

    async def save(self, sink: str, record: SinkRecord, version: int) -> int | None:
        saved = await self._records.save(sink, record, version)
        if saved is not None:
            self._seen[sink] = StoredRecord(record, saved)
        return saved

    async def close(self) -> None:
        await self._records.close()

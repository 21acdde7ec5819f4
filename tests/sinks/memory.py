"""Records of sinks in a dictionary, for tests of what is built on them: they can go away."""

from __future__ import annotations

from openbank.sinks.port import RecordsUnavailable, SinkRecord, StoredRecord


class MemoryRecords:
    def __init__(self) -> None:
        self.down = False
        self.stored: dict[str, StoredRecord] = {}

    async def load(self, sink: str) -> StoredRecord | None:
        self._check()
        return self.stored.get(sink)

    async def save(self, sink: str, record: SinkRecord, version: int) -> int | None:
        self._check()
        there = self.stored.get(sink)
        if (there.version if there else 0) != version:
            return None
        self.stored[sink] = StoredRecord(record, version + 1)
        return version + 1

    async def close(self) -> None: ...

    def _check(self) -> None:
        if self.down:
            raise RecordsUnavailable("the records are away")

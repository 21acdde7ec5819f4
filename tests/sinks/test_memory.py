"""Records in memory, and remembered ones, keep the same promises, but for what needs a disk."""

from __future__ import annotations

import pytest

from openbank.sinks.port import SinkRecords
from openbank.sinks.remembered import RememberedRecords
from tests.sinks.conformance import OpenRecords, SinkRecordsConformance
from tests.sinks.memory import MemoryRecords


class TestMemoryRecords(SinkRecordsConformance):
    @pytest.fixture(params=[lambda records: records, RememberedRecords], ids=["plain", "remembered"])
    def open_records(self, request: pytest.FixtureRequest) -> OpenRecords:
        records: SinkRecords = request.param(MemoryRecords())

        async def open_records() -> SinkRecords:
            return records

        return open_records

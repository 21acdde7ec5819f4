"""The records that other tests are built on keep the same promises, but for what needs a disk."""

from __future__ import annotations

import pytest

from openbank.sinks.port import SinkRecords
from tests.sinks.conformance import OpenRecords, SinkRecordsConformance
from tests.sinks.memory import MemoryRecords


class TestMemoryRecords(SinkRecordsConformance):
    @pytest.fixture
    def open_records(self) -> OpenRecords:
        records = MemoryRecords()

        async def open_records() -> SinkRecords:
            return records

        return open_records

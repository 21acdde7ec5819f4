"""What the records of sinks guarantee, checked for every adapter.

An adapter's test file subclasses `SinkRecordsConformance` and gives it `open_records`, which opens the same records
each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from openbank.eventstore.port import LogPosition
from openbank.sinks.documents import from_document, to_document
from openbank.sinks.port import NEW, Parked, SinkRecord, SinkRecords, StoredRecord, Trouble

OpenRecords = Callable[[], Awaitable[SinkRecords]]

RECORD = SinkRecord("b0" * 16, "50" * 16, LogPosition(7, "account-1", 3), 1_700_000_000_000_000)
LARGE = 2**62
FULL = SinkRecord(
    "b1" * 16,
    "51" * 16,
    LogPosition(LARGE, "person-ann", LARGE),
    LARGE,
    {
        "account-1": Parked(1, "HTTP 422 Unprocessable Entity", LARGE),
        "person-Ann_1": Parked(LARGE, "ärger", 1, retrying=True),
    },
    Trouble("HTTP 503 Service Unavailable", LARGE, "account-1", LARGE),
)


class SinkRecordsConformance:
    @pytest.fixture
    def open_records(self) -> OpenRecords:
        raise NotImplementedError("an adapter's test file opens its records, the same ones each time")

    @pytest.fixture
    async def records(self, open_records: OpenRecords) -> AsyncIterator[SinkRecords]:
        records = await open_records()
        yield records
        await records.close()

    async def test_nothing_is_kept_of_a_new_sink(self, records: SinkRecords) -> None:
        assert await records.load("crm") is None

    @pytest.mark.parametrize("record", [RECORD, FULL], ids=["plain", "full"])
    async def test_a_saved_record_is_loaded_whole(self, records: SinkRecords, record: SinkRecord) -> None:
        version = await records.save("crm", record, NEW)
        assert version is not None
        assert await records.load("crm") == StoredRecord(record, version)

    async def test_it_is_there_when_they_are_opened_again(self, open_records: OpenRecords) -> None:
        records = await open_records()
        version = await records.save("crm", FULL, NEW)
        await records.close()
        again = await open_records()
        assert version is not None
        assert await again.load("crm") == StoredRecord(FULL, version)
        await again.close()

    async def test_sinks_with_odd_names_are_separate(self, records: SinkRecords) -> None:
        names = ("crm", "CRM", "https://crm.example/events", "nats://127.0.0.1:4222/bank.events", "a.b$c")
        for number, name in enumerate(names):
            assert await records.save(name, RECORD._replace(position_time=number), NEW)
        for number, name in enumerate(names):
            stored = await records.load(name)
            assert stored is not None
            assert stored.record.position_time == number

    async def test_a_new_record_does_not_replace_one_that_is_there(self, records: SinkRecords) -> None:
        version = await records.save("crm", RECORD, NEW)
        assert version is not None
        assert await records.save("crm", FULL, NEW) is None
        assert await records.load("crm") == StoredRecord(RECORD, version)

    async def test_one_of_two_writers_that_saw_the_same_version_changes_it(self, records: SinkRecords) -> None:
        seen = await records.save("crm", RECORD, NEW)
        assert seen is not None
        changed = await records.save("crm", FULL, seen)
        assert changed is not None
        assert await records.save("crm", RECORD, seen) is None
        assert await records.load("crm") == StoredRecord(FULL, changed)

    async def test_the_same_record_saved_again_is_another_version(self, records: SinkRecords) -> None:
        seen = await records.save("crm", RECORD, NEW)
        assert seen is not None
        again = await records.save("crm", RECORD, seen)
        assert again not in (None, seen)
        assert await records.save("crm", RECORD, seen) is None

    async def test_a_record_that_is_not_there_has_no_version(self, records: SinkRecords) -> None:
        assert await records.save("crm", RECORD, 5) is None
        assert await records.load("crm") is None

    async def test_exactly_one_of_many_at_once_succeeds(self, records: SinkRecords) -> None:
        version: int | None = NEW
        for round in range(5):
            assert version is not None
            wanted = [RECORD._replace(position_time=10 * round + number) for number in range(8)]
            saved = await asyncio.gather(*(records.save("crm", record, version) for record in wanted))
            (winner,) = [number for number, answer in enumerate(saved) if answer is not None]
            version = saved[winner]
            stored = await records.load("crm")
            assert stored is not None
            assert stored == (wanted[winner], version)

    async def test_a_record_of_an_older_version_without_the_troubles_event_is_read(self) -> None:
        document = to_document(FULL)
        del document["trouble"]["aggregate"], document["trouble"]["revision"]
        assert FULL.trouble is not None
        assert from_document(document).trouble == FULL.trouble._replace(aggregate="", revision=0)

"""The embedded records."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from openbank.eventstore.errors import StoreRefused
from openbank.sinks.port import NEW, RecordsUnavailable, SinkRecords
from openbank.sinks.sqlite import FILE, SqliteSinkRecords
from tests.sinks.conformance import RECORD, OpenRecords, SinkRecordsConformance


class TestSqliteSinkRecords(SinkRecordsConformance):
    @pytest.fixture
    def open_records(self, tmp_path: Path) -> OpenRecords:
        async def open_records() -> SinkRecords:
            return SqliteSinkRecords(tmp_path)

        return open_records


async def test_a_bank_without_sinks_has_no_file_of_them(tmp_path: Path) -> None:
    records = SqliteSinkRecords(tmp_path)
    await records.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("pragma", "says"), [("application_id", "another program"), ("user_version", "newer")])
async def test_a_file_that_is_not_of_this_format_is_refused_and_left_as_it_is(
    tmp_path: Path, pragma: str, says: str
) -> None:
    records = SqliteSinkRecords(tmp_path)
    await records.save("crm", RECORD, NEW)
    await records.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(f"PRAGMA {pragma} = 2")
    again = SqliteSinkRecords(tmp_path)
    with pytest.raises(StoreRefused, match=says):
        await again.load("crm")
    await again.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM sinks").fetchone() == (1,)


async def test_a_file_that_is_not_a_database_makes_them_unavailable(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    records = SqliteSinkRecords(tmp_path)
    with pytest.raises(RecordsUnavailable, match=FILE):
        await records.load("crm")
    await records.close()

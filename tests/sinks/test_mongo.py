"""The records on MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import Int64
from pymongo import MongoClient

from openbank.eventstore.errors import StoreRefused
from openbank.mongodb.link import MongoLink
from openbank.sinks.mongo import COLLECTION, MongoSinkRecords
from openbank.sinks.port import NEW, RecordsUnavailable, SinkRecords, StoredRecord
from openbank.views.mongo import MongoViews
from openbank.views.mongo.link import ViewsLink
from openbank.views.port import LogId
from tests.sinks.conformance import FULL, RECORD, OpenRecords, SinkRecordsConformance
from tests.stand_ins.process import FerretDBProcess


@pytest.fixture
def mongodb(every_mongodb: str) -> str:
    return every_mongodb


class TestMongoSinkRecords(SinkRecordsConformance):
    @pytest.fixture
    async def open_records(self, database: str) -> AsyncIterator[OpenRecords]:
        links: list[MongoLink] = []

        async def open_records() -> SinkRecords:
            links.append(ViewsLink(database))
            return MongoSinkRecords(links[-1])

        yield open_records
        for link in links:
            await link.close()


@pytest.fixture
def documents(database: str) -> Any:
    with MongoClient[dict[str, Any]](database) as client:
        yield client.get_default_database()


@pytest.fixture
async def views(database: str) -> AsyncIterator[MongoViews]:
    views = await MongoViews.open(database)
    yield views
    await views.close()


async def test_they_survive_a_rebuild_of_the_views(views: MongoViews) -> None:
    records = MongoSinkRecords(views.link)
    await views.clear(LogId("b0" * 16, "50" * 16))
    assert await records.save("crm", RECORD, NEW) == 1
    await views.clear(LogId("b0" * 16, "51" * 16))
    assert await records.load("crm") == StoredRecord(RECORD, 1)


async def test_small_integers_are_stored_in_64_bits_too(views: MongoViews, documents: Any) -> None:
    await MongoSinkRecords(views.link).save("crm", FULL, NEW)
    stored = documents[COLLECTION].find_one()
    assert {type(stored[name]) for name in ("version", "position", "revision", "position_time")} == {Int64}
    assert {type(parked[name]) for parked in stored["parked"] for name in ("revision", "time")} == {Int64}


async def test_a_record_of_a_newer_version_is_refused(views: MongoViews, documents: Any) -> None:
    records = MongoSinkRecords(views.link)
    await records.save("crm", RECORD, NEW)
    documents[COLLECTION].update_one({"_id": "crm"}, {"$set": {"format": 2}})
    with pytest.raises(StoreRefused, match="newer version"):
        await records.load("crm")


async def test_a_database_that_is_away_makes_them_unavailable(ferretdb: FerretDBProcess) -> None:
    link = ViewsLink(f"{ferretdb.uri}/bank")
    records = MongoSinkRecords(link)
    assert await records.save("crm", RECORD, NEW) == 1
    ferretdb.kill()
    with pytest.raises(RecordsUnavailable):
        await records.load("crm")
    await link.close()

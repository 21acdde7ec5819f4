"""FerretDB behind its gate: what MongoDB promises of one document, and data that outlives a kill."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import motor.motor_asyncio
import pytest
from pymongo import MongoClient, ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from tests.stand_ins import ferret
from tests.stand_ins.process import FerretDBProcess

THREADS = 8
Documents = Collection[dict[str, Any]]

pytestmark = pytest.mark.timeout(900)  # the first run builds it


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FerretDBProcess]:
    try:
        ferret.build()
    except ferret.GoMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with FerretDBProcess(tmp_path_factory.mktemp("ferretdb")) as started:
        yield started


@pytest.fixture
def documents(database: FerretDBProcess, request: pytest.FixtureRequest) -> Iterator[Documents]:
    with MongoClient[dict[str, Any]](database.uri) as client:
        yield client["bank"][request.node.name]


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(act, range(count)))


def test_increments_are_not_lost(documents: Documents) -> None:
    documents.insert_one({"_id": 1, "n": 0})
    at_once(400, lambda _: documents.update_one({"_id": 1}, {"$inc": {"n": 1}}))
    assert documents.find_one({"_id": 1}) == {"_id": 1, "n": 400}


def test_compare_and_set_has_one_winner(documents: Documents) -> None:
    for turn in range(20):
        documents.insert_one({"_id": turn, "holder": None})

        def claim(who: int, turn: int = turn) -> int:
            return documents.update_one({"_id": turn, "holder": None}, {"$set": {"holder": who}}).modified_count

        assert sum(at_once(THREADS, claim)) == 1


def test_insert_if_missing_has_one_winner(documents: Documents) -> None:
    def insert(_: int) -> bool:
        try:
            return documents.insert_one({"_id": "one"}).acknowledged
        except DuplicateKeyError:
            return False

    assert sum(at_once(THREADS, insert)) == 1


def test_the_greatest_of_concurrent_maxima_stays(documents: Documents) -> None:
    documents.insert_one({"_id": 1, "position": 0})
    at_once(100, lambda number: documents.update_one({"_id": 1}, {"$max": {"position": number}}))
    assert documents.find_one({"_id": 1}) == {"_id": 1, "position": 99}


def test_each_number_is_drawn_once(documents: Documents) -> None:
    documents.insert_one({"_id": 1, "n": 0})
    change = {"$inc": {"n": 1}}
    drawn = at_once(
        80, lambda _: documents.find_one_and_update({"_id": 1}, change, return_document=ReturnDocument.AFTER)
    )
    assert sorted(document["n"] for document in drawn) == list(range(1, 81))


def test_an_unacknowledged_write_does_not_hold_the_gate(documents: Documents) -> None:
    silent = documents.with_options(write_concern=WriteConcern(w=0))
    for number in range(5):
        silent.insert_one({"_id": number})
    assert documents.count_documents({}) == 5


async def test_motor_speaks_to_it(database: FerretDBProcess) -> None:
    client: motor.motor_asyncio.AsyncIOMotorClient[dict[str, Any]] = motor.motor_asyncio.AsyncIOMotorClient(
        database.uri
    )
    found = client["bank"]["motor"]
    await found.create_index([("owner", 1), ("number", 1)], unique=True)
    await found.insert_many([{"_id": n, "owner": "o", "number": n, "big": 2**53 - 1} for n in range(5)])
    page = [document["_id"] async for document in found.find({"number": {"$gt": 1}}).sort("number", -1).limit(2)]
    assert page == [4, 3]
    with pytest.raises(DuplicateKeyError):
        await found.insert_one({"_id": 9, "owner": "o", "number": 1})
    client.close()


def test_data_outlives_a_kill(database: FerretDBProcess, documents: Documents) -> None:
    for number in range(20):
        documents.insert_one({"_id": number})
    address = database.address
    database.kill()
    database.start()
    assert database.address == address
    assert documents.count_documents({}) == 20

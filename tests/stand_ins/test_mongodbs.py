"""The stand-ins for MongoDB keep what it promises of one document; FerretDB's data outlive a kill.

On mongo-java-server findAndModify is not atomic, and it does not execute unacknowledged writes of PyMongo's. MongoDB's
manual promises both; the bank uses neither.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import motor.motor_asyncio
import pytest
from pymongo import MongoClient, ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from tests.stand_ins.process import FerretDBProcess

THREADS = 8
Documents = Collection[dict[str, Any]]

pytestmark = pytest.mark.timeout(900)  # the first run builds it


@pytest.fixture
def documents(every_mongodb: str, request: pytest.FixtureRequest) -> Iterator[Documents]:
    with MongoClient[dict[str, Any]](every_mongodb) as client:
        yield client["stand_in"][request.node.name.partition("[")[0]]
        client.drop_database("stand_in")


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


@pytest.mark.parametrize("every_mongodb", ["first_mongodb"], indirect=True)
def test_each_number_is_drawn_once(documents: Documents) -> None:
    documents.insert_one({"_id": 1, "n": 0})
    change = {"$inc": {"n": 1}}
    drawn = at_once(
        80, lambda _: documents.find_one_and_update({"_id": 1}, change, return_document=ReturnDocument.AFTER)
    )
    assert sorted(document["n"] for document in drawn) == list(range(1, 81))


@pytest.mark.parametrize("every_mongodb", ["first_mongodb"], indirect=True)
def test_an_unacknowledged_write_does_not_hold_the_gate(documents: Documents) -> None:
    silent = documents.with_options(write_concern=WriteConcern(w=0))
    for number in range(5):
        silent.insert_one({"_id": number})
    assert documents.count_documents({}) == 5


async def test_motor_speaks_to_it(every_mongodb: str, documents: Documents) -> None:
    client: motor.motor_asyncio.AsyncIOMotorClient[dict[str, Any]] = motor.motor_asyncio.AsyncIOMotorClient(
        every_mongodb
    )
    found = client["stand_in"]["motor"]
    await found.create_index([("owner", 1), ("number", 1)], unique=True)
    await found.insert_many([{"_id": n, "owner": "o", "number": n, "big": 2**53 - 1} for n in range(5)])
    page = [document["_id"] async for document in found.find({"number": {"$gt": 1}}).sort("number", -1).limit(2)]
    assert page == [4, 3]
    with pytest.raises(DuplicateKeyError):
        await found.insert_one({"_id": 9, "owner": "o", "number": 1})
    client.close()


def test_data_outlives_a_kill(ferretdb: FerretDBProcess) -> None:
    with MongoClient[dict[str, Any]](ferretdb.uri) as client:
        documents = client["bank"]["documents"]
        for number in range(20):
            documents.insert_one({"_id": number})
        address = ferretdb.address
        ferretdb.kill()
        ferretdb.start()
        assert ferretdb.address == address
        assert documents.count_documents({}) == 20

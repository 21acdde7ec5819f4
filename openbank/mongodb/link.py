"""The connection to MongoDB. A failure is MongoUnavailable, within seconds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ReadPreference
from pymongo.errors import ConfigurationError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from openbank import address

DATABASE = "openbank"
"""Where the URI names none."""
CALL_SECONDS = 3.0
"""How long an answer may take. One that takes longer is an outage."""
OPTIONS: dict[str, Any] = {
    "appName": "openbank",
    # How long a call looks for the server, or for the primary of a set, before it says that there is none.
    "serverSelectionTimeoutMS": 500,
    # A connection whose peer is gone without a word is known by this: the driver asks the server every second, and
    # without an answer within 2 s it replaces all connections to it.
    "heartbeatFrequencyMS": 1_000,
    "connectTimeoutMS": 2_000,
    # A call is given up long before; until then it holds one of motor's few threads.
    "socketTimeoutMS": 5_000,
}
"""What the URI may say otherwise."""

Document = dict[str, Any]
Documents = AsyncIOMotorCollection[Document]
Answer = TypeVar("Answer")


class MongoUnavailable(Exception):
    """The database cannot be reached, or does not answer as it should. A change may have been made or not."""


class MongoLink:
    """Once it has found the database unavailable, it says so at once, rather than let every caller wait.

    `Checkpoint.refresh` notices when it is back.
    """

    unavailable: type[MongoUnavailable] = MongoUnavailable
    """What its calls raise."""

    def __init__(self, uri: str) -> None:
        """Raises MongoUnavailable for what is no URI of MongoDB."""
        try:
            address.check(uri)
            given = parse_uri(uri)
            options = {name: value for name, value in OPTIONS.items() if name not in given["options"]}
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **options)
            name = self._client.get_default_database(DATABASE).name
        except Exception as error:
            # The driver's own checks are of many kinds: dnspython's, ssl's, OSError for a file of certificates.
            raise self.unavailable(f"the URI of the views cannot be used: {address.reason(error, uri)}") from None
        self.name = f"MongoDB at {','.join(f'{host}:{port}' for host, port in given['nodelist'])}, database {name}"
        """For people; without credentials."""
        self.trouble: str | None = None
        """Why nothing can be asked now."""
        self._pending: set[asyncio.Timeout] = set()
        # Read on the primary, "local": whatever it holds is true, as the log says so and is durable. Only what says how
        # much is there must not be taken back by a change of primaries, so that is read as the majority has it.
        self.database: AsyncIOMotorDatabase[Document] = self._client.get_database(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("local"),
            # In the journal, too: a single server without that may lose the last 100 ms when it is killed.
            write_concern=WriteConcern("majority", j=True),
        )

    def documents(self, name: str) -> Documents:
        return self.database[name]

    def check(self) -> None:
        if self.trouble is not None:
            raise self.unavailable(self.trouble)

    async def call(self, call: Callable[[], Awaitable[Answer]], seconds: float = CALL_SECONDS) -> Answer:
        self.check()
        return await self.probe(call, seconds)

    async def probe(self, call: Callable[[], Awaitable[Answer]], seconds: float = CALL_SECONDS) -> Answer:
        """A call that is made although the database was away a moment ago."""
        try:
            async with asyncio.timeout(seconds) as limit:
                self._pending.add(limit)
                try:
                    return await call()
                finally:
                    self._pending.discard(limit)
        except TimeoutError:
            raise self._lost(self.trouble or f"{self.name}: no answer within {seconds:g} s") from None
        except ConnectionFailure as error:
            # What follows is the driver's view of the world, in many words.
            text = re.split(r" \(configured timeouts|, full error", str(error), maxsplit=1)[0]
            raise self._lost(f"{self.name}: {text}") from error
        except ConfigurationError as error:
            # About the server and the driver, never about an operation: a server that is too old, for example.
            raise self.unavailable(f"{self.name}: {error}") from None
        except (PyMongoError, BSONError) as error:
            raise self.unavailable(f"{self.name}: {_reason(error)}") from None

    def _lost(self, trouble: str) -> MongoUnavailable:
        """Calls under way, or waiting for one of motor's threads, would find out the same one after the other."""
        self.trouble = trouble
        now = asyncio.get_running_loop().time()
        for limit in self._pending:
            if not limit.expired():
                limit.reschedule(now)
        return self.unavailable(trouble)

    async def close(self) -> None:
        # In a thread: the driver takes leave of the server, which may not answer.
        await asyncio.get_running_loop().run_in_executor(None, self._client.close)


def _reason(error: PyMongoError | BSONError) -> str:
    """What went wrong, without the server's own text and the driver's: they quote the operation, with personal data."""
    parts = [type(error).__name__]
    if isinstance(error, OperationFailure):
        details = error.details if isinstance(error.details, dict) else {}
        codes = [error, *details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
        parts += dict.fromkeys(str(code) for code in map(_code, codes) if code is not None)
        parts += [name for name in [details.get("codeName")] if isinstance(name, str)]
    return " ".join(parts)


def _code(error: object) -> int | None:
    code = error.get("code") if isinstance(error, dict) else getattr(error, "code", None)
    return code if isinstance(code, int) else None


async def insert_if_missing(documents: Documents, document: Document) -> None:
    with suppress(DuplicateKeyError):
        await documents.insert_one(document)

"""The records on MongoDB, beside the views and not of their generation: a rebuild of the views leaves them alone.

A document a sink, {_id: NAME, version, format, ...}, which is replaced if it is at the version that was seen. A
document's updates are atomic, and that is enough.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bson import Int64
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from openbank.eventstore.errors import StoreRefused
from openbank.mongodb.link import Documents, MongoLink, MongoUnavailable
from openbank.sinks.documents import RecordDocument, from_document, to_document
from openbank.sinks.port import NEW, RecordsUnavailable, SinkRecord, StoredRecord

COLLECTION = "openbank_sinks"
FORMAT = 1

Answer = TypeVar("Answer")


class MongoSinkRecords:
    """`SinkRecords` in the database of the views, by their connection."""

    def __init__(self, link: MongoLink) -> None:
        self._link = link
        # Read with `majority`: the sink must not continue from a place that a change of primaries can take back.
        self._documents: Documents = link.documents(COLLECTION).with_options(read_concern=ReadConcern("majority"))

    async def load(self, sink: str) -> StoredRecord | None:
        """Raises StoreRefused for what a newer version wrote."""
        found = await self._call(lambda: self._documents.find_one({"_id": sink}))
        if found is None:
            return None
        if found["format"] != FORMAT:
            written = f"format {found['format']}, written by a newer version; this one reads {FORMAT}"
            raise StoreRefused(f"{self._link.name}: the sink {sink} has {written}")
        return StoredRecord(from_document(found), int(found["version"]))

    async def save(self, sink: str, record: SinkRecord, version: int) -> int | None:
        document = {"_id": sink, "format": FORMAT, "version": Int64(version + 1), **_wide(to_document(record))}
        replace = self._insert if version == NEW else self._replace
        return version + 1 if await self._call(lambda: replace(document, version)) else None

    async def close(self) -> None:
        """The connection is the views'."""

    async def _insert(self, document: RecordDocument, _: int) -> bool:
        try:
            await self._documents.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def _replace(self, document: RecordDocument, version: int) -> bool:
        at = {"_id": document["_id"], "version": Int64(version)}
        return (await self._documents.replace_one(at, document)).matched_count == 1

    async def _call(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._link.call(call)
        except MongoUnavailable as error:
            raise RecordsUnavailable(str(error)) from error


def _wide(value: RecordDocument) -> RecordDocument:
    """Integers have 64 bits whatever their size, as readers in other languages need it."""

    def wide(value: object) -> object:
        match value:
            case dict():
                return {name: wide(part) for name, part in value.items()}
            case list():
                return [wide(part) for part in value]
            case bool() | None | str():
                return value
            case int():
                return Int64(value)
        raise TypeError(type(value).__name__)

    return {name: wide(part) for name, part in value.items()}

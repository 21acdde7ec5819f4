"""A lease as a document: {_id: NAME, holder, beats}. A document's updates are atomic, and that is enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bson import Int64

from openbank.following.lease import FREE, LeaseUnavailable, Term
from openbank.mongodb.link import Documents, MongoLink, MongoUnavailable, insert_if_missing

Answer = TypeVar("Answer")
COLLECTION = "openbank_leases"


class MongoLease:
    """`LeaseRecord` on MongoDB."""

    def __init__(self, link: MongoLink, name: str) -> None:
        self._link = link
        self._one = {"_id": name}
        self._documents: Documents = link.documents(COLLECTION)

    async def read(self) -> Term:
        stored = await self._call(lambda: self._documents.find_one(self._one))
        return Term(stored["holder"], int(stored["beats"])) if stored else FREE

    async def take(self, holder: str, seen: Term) -> bool:
        if seen == FREE:
            await self._call(lambda: insert_if_missing(self._documents, {**self._one, **_fields(FREE)}))
        return await self._update(_fields(seen), {"$set": _fields(Term(holder, seen.beats + 1))})

    async def renew(self, holder: str) -> bool:
        return await self._update({"holder": holder}, {"$inc": {"beats": Int64(1)}})

    async def release(self, holder: str) -> None:
        await self._update({"holder": holder}, {"$set": {"holder": FREE.holder}, "$inc": {"beats": Int64(1)}})

    async def _update(self, where: dict[str, object], change: dict[str, object]) -> bool:
        done = await self._call(lambda: self._documents.update_one({**self._one, **where}, change))
        return done.matched_count == 1

    async def _call(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._link.call(call)
        except MongoUnavailable as error:
            raise LeaseUnavailable(str(error)) from None


def _fields(term: Term) -> dict[str, object]:
    return {"holder": term.holder, "beats": Int64(term.beats)}

"""Which bank a store belongs to, and which copy of its log it is. The last event of a stream beside the log says so."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, NamedTuple

from esdbclient import NewEvent as Proposed
from esdbclient.exceptions import NotFound

from openbank.eventstore.errors import StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.reading import Stored
from openbank.eventstore.seal import TokenKey

STORE_STREAM = "openbank-store"
"""The name begins with none of the log's prefixes, so the stream is not part of the log."""
STORE_CREATED = "openbank.StoreCreated"
NUMBERS = "numbersWithoutHyphens"
"""Recorded there once all account numbers are reserved without hyphens."""
TOKEN_KEY, SEAL_FROM = "tokenKey", "sealFrom"
"""What tokens are sealed with, in hexadecimal, and the Unix time from which they are. Earlier versions ignore both."""
OLDER_SECONDS = 3_600
"""How long instances of an earlier version may run beside the first one that seals: they read no sealed tokens."""
FORMAT = 1


class Wanted(NamedTuple):
    """See `EventStoreDBEventStore.open`."""

    bank_id: str | None
    known_bank_id: str | None
    make: bool
    copying: bool


class Identity:
    """Methods raise StoreRefused and StoreUnavailable."""

    def __init__(self, link: Link, prefix: str) -> None:
        self.stream = prefix + STORE_STREAM
        self.numbers_adopted = False
        self.token_key = TokenKey()
        self._link = link

    async def claim(self, wanted: Wanted) -> tuple[str, str]:
        """Reads which bank the store belongs to, or assigns it to one; of several instances that try, one succeeds.

        Returns the bank's and the store's id.
        """
        stored = await self._read() or await self._make(wanted)
        if wanted.make and not wanted.copying:
            stored = await self._with_token_key(stored)
        try:
            identity = json.loads(stored.data if stored else b"null")
            version, bank_id, store_id = identity["format"], identity["bankId"], identity["storeId"]
            if len(bytes.fromhex(bank_id)) != 16 or len(bytes.fromhex(store_id)) != 16:
                raise ValueError
            newer = version > FORMAT
            self.token_key = TokenKey.from_hex(identity.get(TOKEN_KEY, ""), float(identity.get(SEAL_FROM, 0)))
            self.numbers_adopted = bool(identity.get(NUMBERS))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StoreRefused(f"the stream {self.stream} is not this program's") from error
        if newer:
            raise StoreRefused(f"this store has format {version}, written by a newer version; this one reads {FORMAT}")
        if wanted.bank_id not in (None, bank_id):
            raise StoreRefused(f"this store belongs to the bank {bank_id}, not to {wanted.bank_id}")
        if identity.get("unfinished") and not wanted.copying:
            raise StoreRefused("a copy into this store has not finished: run `openbank copy` again, as it was")
        return bank_id, store_id

    async def adopt_token_key(self, key: TokenKey) -> None:
        """See `CopyTarget`."""
        stored = await self._read()
        identity = json.loads(stored.data) if stored else {}
        if stored and (identity.get("unfinished") or not identity.get(TOKEN_KEY)):
            if not await self._replace(stored, identity | _keeping(key)):
                raise StoreUnavailable(f"another program has changed {self.stream} meanwhile: try again")
            self.token_key = key

    async def rename(self) -> None:
        """Gives the log a new store id, of the same bank."""
        stored = await self._read()
        if stored is None:
            raise StoreRefused("no bank has ever been in this store")
        if not await self._replace(stored, json.loads(stored.data) | {"storeId": secrets.token_hex(16)}):
            raise StoreUnavailable(f"another program has changed {self.stream} meanwhile: try again")

    async def note_copied(self) -> None:
        stored = await self._read()
        identity = json.loads(stored.data) if stored else {}
        if stored and identity.pop("unfinished", False):
            await self._replace(stored, identity)

    async def note_numbers_adopted(self) -> None:
        stored = await self._read()
        if stored is not None:
            # If another instance was first, it has written the same.
            await self._replace(stored, json.loads(stored.data) | {NUMBERS: True})
        self.numbers_adopted = True

    async def _make(self, wanted: Wanted) -> Stored | None:
        if wanted.known_bank_id is not None:
            raise StoreRefused(
                f"EventStoreDB at {self._link.targets} holds no bank, and the views belong to the bank"
                f" {wanted.known_bank_id}: bring back its log; or, to begin a new bank, remove the views"
            )
        if not wanted.make:
            raise StoreRefused("no bank has ever been in this store")
        bank_id, store_id = wanted.bank_id or secrets.token_hex(16), secrets.token_hex(16)
        made = {"format": FORMAT, "bankId": bank_id, "storeId": store_id}
        # The events that a copy brings may be those of an earlier version.
        made |= {"unfinished": True} if wanted.copying else {NUMBERS: True} | _keeping(TokenKey.new())
        await self._link.write(self.stream, _event(made), None)
        return await self._read()

    async def _with_token_key(self, stored: Stored | None) -> Stored | None:
        """The record with a key: one of an earlier version gets one, by the first of all instances that try."""
        while stored is not None:
            identity = _parsed(stored)
            if not isinstance(identity, dict) or identity.get("format") != FORMAT or identity.get(TOKEN_KEY):
                return stored
            key = TokenKey.new(seal_from=int(time.time()) + OLDER_SECONDS)
            await self._replace(stored, identity | _keeping(key))
            stored = await self._read()
        return stored

    async def _replace(self, stored: Stored, identity: dict[str, Any]) -> bool:
        return await self._link.write(self.stream, _event(identity), stored.stream_position)

    async def _read(self) -> Stored | None:
        """The last record."""
        try:
            events = await self._link.read(stream_name=self.stream, backwards=True, limit=1)
        except NotFound:
            return None
        except StoreDamaged as error:
            raise StoreRefused(f"the stream {self.stream} was deleted") from error
        return events[0] if events else None


def _keeping(key: TokenKey) -> dict[str, Any]:
    """What the record holds of a key."""
    return {TOKEN_KEY: key.secret.hex()} | ({SEAL_FROM: key.seal_from} if key.seal_from else {})


def _parsed(stored: Stored) -> Any:
    try:
        return json.loads(stored.data)
    except (ValueError, RecursionError):
        return None


def _event(identity: dict[str, Any]) -> Proposed:
    return Proposed(STORE_CREATED, json.dumps(identity).encode())

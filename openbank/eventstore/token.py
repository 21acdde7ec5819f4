"""Consistency and resume tokens: one opaque string for "all of the log up to here".

Format 2 is sealed. Layout: version (1 byte), a hash of the bank id (8 bytes), the sealed place, and a CRC-32 of all
that; URL-safe base64 without padding. The place is the store id (16 bytes), position and revision (8 bytes each,
big-endian, signed), the length of the stream's name (2 bytes), and the name in UTF-8, padded so that all lengths look
the same. The hash tells a token of another bank, and the checksum one that was damaged: neither protects anything, the
seal does.

Format 1 was not sealed: version, bank id and store id, position, revision, the stream's name, and a CRC-32. Clients
keep tokens for as long as they like, so it is still read. Anybody can make one; it grants nothing.
"""

from __future__ import annotations

import base64
import struct
import zlib
from binascii import b2a_base64
from functools import lru_cache
from hashlib import blake2b

from openbank.eventstore.extensions import HasTokenKey
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.eventstore.seal import Seal

_FORMAT = 2
_OPEN_FORMAT = 1
_OPEN_HEAD = struct.Struct(">B16s16sqq")
_HEAD = struct.Struct(">B8s")
_PLACE_HEAD = struct.Struct(">16sqqH")
_CHECKSUM = struct.Struct(">I")
_NAME_BYTES = 78
"""Names of streams are padded to a multiple of this. Those of the bank are shorter: all its tokens have one length."""
_PLACE = struct.Struct(f"{_PLACE_HEAD.format}{_NAME_BYTES}s")
_TOKEN_CHARACTERS_MAX = 2_000
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_READ_MAX = 1_000
"""The most tokens that are remembered once they were read: a caller sends that of its last write with all its reads."""


class InvalidToken(ValueError):
    """`reason` is the published reason of the field violation."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Tokens:
    """Creates and reads the tokens of one store."""

    def __init__(self, store: HasTokenKey, *, seal_at_once: bool = False) -> None:
        """`seal_at_once` also where instances of an earlier version may run, which read no sealed tokens."""
        self._store = store
        self._bank = bytes.fromhex(store.bank_id)
        self._here = bytes.fromhex(store.store_id)
        self._head = _HEAD.pack(_FORMAT, blake2b(self._bank, digest_size=8).digest())
        key = store.token_key
        self.seal = Seal(key._replace(seal_from=0.0) if seal_at_once else key)
        self._read_token = lru_cache(_READ_MAX)(self._parse)
        self._last: tuple[LogPosition | None, str] = None, ""
        """The last sealed token, and its place: reads between two changes of the views all get the same."""

    def encode(self, at: LogPosition) -> str:
        last_at, last = self._last
        if at == last_at:
            return last
        token = self._encode(at)
        if self.seal.in_use():
            self._last = at, token
        return token

    def _encode(self, at: LogPosition) -> str:
        name = at.stream.encode()
        if self.seal.in_use():
            place = _PLACE.pack(self._here, at.position, at.revision, len(name), name)
            if len(name) > _NAME_BYTES:
                place = place[: _PLACE_HEAD.size] + name + bytes(-len(name) % _NAME_BYTES)
            raw = self._head + self.seal.seal(place)
        else:
            raw = _OPEN_HEAD.pack(_OPEN_FORMAT, self._bank, self._here, at.position, at.revision) + name
        encoded = b2a_base64(raw + _CHECKSUM.pack(zlib.crc32(raw)), newline=False)
        return encoded.translate(_URL_SAFE, b"=").decode()

    async def decode(self, token: str, *, sealed_only: bool = False) -> LogPosition:
        """The place in this store that a token means, also if another store of the same bank made it.

        With `sealed_only` a token of format 1, which anybody can make, is none. Raises InvalidToken for text that is
        not a token, a token of another bank, or one of a store whose events this one does not have.
        """
        store, at = self._read_token(token, sealed_only)
        if store == self._here:
            return at
        if not at.stream:
            return BEGINNING
        here = await self._store.locate(at.stream, at.revision)
        if here is None:
            raise InvalidToken("TOKEN_OF_ANOTHER_STORE", "was given by a store whose events this one does not have")
        return here

    def _parse(self, token: str, sealed_only: bool) -> tuple[bytes, LogPosition]:
        """The store that made the token, and the place there."""
        try:
            if len(token) > _TOKEN_CHARACTERS_MAX:
                raise ValueError("length")
            whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            raw, checksum = whole[: -_CHECKSUM.size], whole[-_CHECKSUM.size :]
            if zlib.crc32(raw) != _CHECKSUM.unpack(checksum)[0]:
                raise ValueError("checksum")
            if raw[0] == _FORMAT:
                return self._opened(raw)
            if raw[0] == _OPEN_FORMAT and not sealed_only:
                return self._read(raw)
            raise ValueError("format")
        except InvalidToken:
            raise
        except (ValueError, IndexError, struct.error) as error:
            raise InvalidToken("INVALID_TOKEN", "is not a token of this bank") from error

    def _opened(self, raw: bytes) -> tuple[bytes, LogPosition]:
        if raw[: _HEAD.size] != self._head:
            raise _of_another_bank()
        place = self.seal.open(raw[_HEAD.size :])
        if place is None:
            raise ValueError("seal")
        store, position, revision, length = _PLACE_HEAD.unpack_from(place)
        return store, LogPosition(position, place[_PLACE_HEAD.size : _PLACE_HEAD.size + length].decode(), revision)

    def _read(self, raw: bytes) -> tuple[bytes, LogPosition]:
        _, bank, store, position, revision = _OPEN_HEAD.unpack_from(raw)
        at = LogPosition(position, raw[_OPEN_HEAD.size :].decode(), revision)
        if position < 0 or revision < 0:
            raise ValueError("place")
        if bank != self._bank:
            raise _of_another_bank()
        return store, at


def _of_another_bank() -> InvalidToken:
    return InvalidToken("TOKEN_OF_ANOTHER_BANK", "was given by another bank")

"""Consistency and resume tokens: one opaque string for "all of the log up to here".

Layout, format 1: version (1 byte), bank id and store id (16 bytes each), position and revision (8 bytes each,
big-endian, signed), the stream's name in UTF-8, and a CRC-32 of all that; URL-safe base64 without padding. The checksum
finds a token that was cut or changed by mistake. It does not prevent forgery: a token grants nothing.
"""

from __future__ import annotations

import base64
import struct
import zlib

from openbank.eventstore.port import BEGINNING, EventStore, LogPosition

_FORMAT = 1
_HEAD = struct.Struct(">B16s16sqq")
_CHECKSUM = struct.Struct(">I")


class InvalidToken(ValueError):
    """`reason` is the published reason of the field violation."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Tokens:
    """Creates and reads the tokens of one store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._bank = bytes.fromhex(store.bank_id)
        self._here = bytes.fromhex(store.store_id)

    def encode(self, at: LogPosition) -> str:
        head = _HEAD.pack(_FORMAT, self._bank, self._here, at.position, at.revision) + at.stream.encode()
        return base64.urlsafe_b64encode(head + _CHECKSUM.pack(zlib.crc32(head))).rstrip(b"=").decode()

    async def decode(self, token: str) -> LogPosition:
        """The place in this store that a token means, also if another store of the same bank made it.

        Raises InvalidToken for text that is not a token, a token of another bank, or one of a store whose events this
        one does not have.
        """
        bank, store, at = _parse(token)
        if bank != self._bank:
            raise InvalidToken("TOKEN_OF_ANOTHER_BANK", "was given by another bank")
        if store == self._here:
            return at
        if not at.stream:
            return BEGINNING
        here = await self._store.locate(at.stream, at.revision)
        if here is None:
            raise InvalidToken("TOKEN_OF_ANOTHER_STORE", "was given by a store whose events this one does not have")
        return here


def _parse(token: str) -> tuple[bytes, bytes, LogPosition]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        head, checksum = raw[: -_CHECKSUM.size], raw[-_CHECKSUM.size :]
        if zlib.crc32(head) != _CHECKSUM.unpack(checksum)[0]:
            raise ValueError("checksum")
        version, bank, store, position, revision = _HEAD.unpack_from(head)
        if version != _FORMAT or position < 0 or revision < 0:
            raise ValueError("format")
        return bank, store, LogPosition(position, head[_HEAD.size :].decode(), revision)
    except (ValueError, struct.error) as error:
        raise InvalidToken("INVALID_TOKEN", "is not a token of this bank") from error

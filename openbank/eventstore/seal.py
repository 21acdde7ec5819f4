"""Sealing: tokens that only this bank can read or make, and that show nothing of what is in them.

AES-SIV (RFC 5297): the same place gives the same token, which shows that two places are equal and no more. No nonce can
be used twice, as there is none.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES = 32


class TokenKey(NamedTuple):
    """The secret of a bank that tokens are sealed with. All instances and all copies of its log have the same."""

    secret: bytes = b""
    """Empty for a log of an earlier version, until a bank is served from it."""
    seal_from: float = 0.0
    """The Unix time from which tokens are sealed. Until then instances of an earlier version may run, which cannot read
    sealed ones."""

    @classmethod
    def new(cls, seal_from: float = 0.0) -> TokenKey:
        return cls(secrets.token_bytes(KEY_BYTES), seal_from)

    @classmethod
    def from_hex(cls, text: str, seal_from: float = 0.0) -> TokenKey:
        """Raises ValueError."""
        secret = bytes.fromhex(text)
        if text and len(secret) != KEY_BYTES:
            raise ValueError("a key of tokens of another length")
        return cls(secret, seal_from)

    def __repr__(self) -> str:
        return "TokenKey(...)"


class Seal:
    """Seals and opens with the key of one bank."""

    required = False
    """Whether tokens that are not sealed, which anybody can make, are none."""

    def __init__(self, key: TokenKey) -> None:
        self._cipher = AESSIV(key.secret) if key.secret else None
        self._from = key.seal_from
        self._in_use = False

    def in_use(self) -> bool:
        """Whether new tokens are to be sealed."""
        if not self._in_use:
            self._in_use = self._cipher is not None and time.time() >= self._from
        return self._in_use

    def only(self) -> Seal:
        """The same, where no other tokens count."""
        seal = copy(self)
        seal.required = True
        return seal

    def seal(self, data: bytes, context: Sequence[bytes] | None = None) -> bytes:
        """What `open` opens, in the same context only."""
        assert self._cipher is not None
        return self._cipher.encrypt(data, context)

    def open(self, sealed: bytes, context: Sequence[bytes] | None = None) -> bytes | None:
        """None for what this bank has not sealed, or has sealed in another context."""
        if self._cipher is None:
            return None
        try:
            return self._cipher.decrypt(sealed, context)
        except (InvalidTag, ValueError):
            return None


NO_SEAL = Seal(TokenKey())
"""The seal of a bank without a key: it gives tokens of format 1."""

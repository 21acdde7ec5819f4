"""The public keys of an identity provider: which of them count, and when they are fetched again."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from openbank.access.errors import TokenKeysUnavailable
from openbank.access.policy import Issuer

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 30.0
"""After a fetch that failed, and between two fetches that unknown keys ask for."""
WAITING_MAX = 1_000
"""Calls that may wait for one fetch."""
KEYS_MAX = 100
RSA_BITS_MIN = 2048

_log = logging.getLogger(__name__)

Fetch = Callable[[Issuer], Awaitable[bytes]]
"""Gets the document of a key set. Raises OSError."""
Keys = Mapping[tuple[str, str], PyJWK]
"""By the id of the key, empty where it has none, and the algorithm."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def read_keys(document: bytes, algorithms: Sequence[str]) -> Keys:
    """The keys of a set that verify signatures by one of `algorithms`. All others are left out.

    A set may hold symmetric keys, with which anybody who knows the public keys could make tokens. Raises ValueError for
    what is no key set.
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("is not a JSON Web Key Set") from None
    if not isinstance(entries, list) or len(entries) > KEYS_MAX:
        raise ValueError(f"does not have a list of at most {KEYS_MAX} keys")
    keys: dict[tuple[str, str], PyJWK] = {}
    for entry in entries:
        if isinstance(entry, dict):
            keys |= _read_key(entry, algorithms)
    return keys


def _read_key(entry: dict[str, Any], algorithms: Sequence[str]) -> Keys:
    id = entry.get("kid", "")
    suitable = _suitable(entry)
    if not isinstance(id, str) or entry.get("use", "sig") != "sig" or entry.get("alg", suitable[:1]) == "":
        return {}
    try:
        keys = {
            (id, algorithm): PyJWK(entry, algorithm)
            for algorithm in suitable
            if algorithm in algorithms and entry.get("alg", algorithm) == algorithm
        }
    # Whatever a library makes of a key that is damaged: the other keys count nevertheless.
    except (PyJWTError, ValueError, TypeError, KeyError):
        return {}
    return {} if any(getattr(key.key, "key_size", RSA_BITS_MIN) < _least(key) for key in keys.values()) else keys


def _suitable(entry: Mapping[str, Any]) -> Sequence[str]:
    match entry.get("kty"):
        case "RSA":
            return _RSA
        case "EC" | "OKP":
            algorithm = _CURVES.get(str(entry.get("crv")))
            return (algorithm,) if algorithm else ()
    return ()


def _least(key: PyJWK) -> int:
    return RSA_BITS_MIN if key.algorithm_name in _RSA else 0


class KeySet:
    """The keys of one issuer. The last good set stays, whatever a later fetch brings."""

    def __init__(self, issuer: Issuer, fetch: Fetch, changed: Callable[[], None]) -> None:
        self.issuer = issuer.issuer
        self._issuer = issuer
        self._fetch = fetch
        self._changed = changed
        self._keys: Keys | None = None
        self._document = b""
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0
        self._due = 0.0
        self._asked_again: float | None = None
        self.fetched: float | None = None
        """By `time.monotonic`; None before the first good set."""

    def find(self, id: str, algorithm: str) -> PyJWK | None:
        """The key with this id. A token may leave out the id where only one key is for its algorithm."""
        keys = self._keys or {}
        if id:
            return keys.get((id, algorithm))
        found = [key for (_, of), key in keys.items() if of == algorithm]
        return found[0] if len(found) == 1 else None

    def may_ask(self) -> bool:
        """Whether a token with an unknown key may wait for another fetch. A flood of them causes one fetch in
        RETRY_SECONDS."""
        return (
            self._keys is None
            or self._fetching is not None
            or self._asked_again is None
            or monotonic() - self._asked_again >= RETRY_SECONDS
        )

    async def ask(self) -> None:
        """Waits for a fetch that all who ask share. Raises TokenKeysUnavailable if there still is no set."""
        if self._waiting >= WAITING_MAX:
            raise TokenKeysUnavailable
        if self._fetching is None and (self._keys is not None or monotonic() >= self._due):
            if self._keys is not None:
                self._asked_again = monotonic()
            self._begin()
        if self._fetching is not None:
            self._waiting += 1
            try:
                # Not the task itself, whose end by `close` must not look like that of the call.
                await asyncio.wait([self._fetching])
            finally:
                self._waiting -= 1
        if self._keys is None:
            raise TokenKeysUnavailable

    async def refresh_when_due(self) -> None:
        if monotonic() >= self._due and self._fetching is None:
            self._begin()
        if self._fetching is not None:
            await asyncio.wait([self._fetching])

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self) -> None:
        self._due = monotonic() + RETRY_SECONDS
        self._fetching = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        values: dict[str, object] = {"issuer": self._issuer.issuer}
        try:
            document = await self._fetch(self._issuer)
            if self._keys is None or document != self._document:
                keys = read_keys(document, self._issuer.algorithms)
                if not keys:
                    raise ValueError("has no key for the algorithms of the access file")
                self._keys, self._document = keys, document
                self._changed()
                _log.info("keys fetched", extra={"values": {**values, "keys": len(keys)}})
            self.fetched = monotonic()
            self._due = self.fetched + REFRESH_SECONDS
        except (OSError, ValueError) as error:
            _log.warning("keys not fetched", extra={"values": {**values, "reason": f"the key set {error}"}})
        finally:
            self._fetching = None

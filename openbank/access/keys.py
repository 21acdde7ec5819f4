"""Pre-shared keys: `obk_<id>_<43 characters>`, 256 random bits.

Only the SHA-256 of the whole key is stored. A slow hash is for passwords: nobody guesses 256 random bits.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

PREFIX = "obk_"
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
KEY_ID = re.compile(r"[a-z0-9]{1,32}")
_KEY = re.compile(r"obk_([a-z0-9]{1,32})_[A-Za-z0-9_-]{43}")


class NewKey(NamedTuple):
    key: str
    """The secret. It is shown once."""
    id: str
    sha256: str
    """What the access file holds, in hexadecimal."""


def new_key() -> NewKey:
    id = "".join(secrets.choice(ID_LETTERS) for _ in range(8))
    key = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
    return NewKey(key, id, sha256(key.encode()).hexdigest())


def id_of(key: str) -> str | None:
    """The id in a key; None for what has not the form of a key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def is_key(key: str, digest: bytes) -> bool:
    """Whether this is the key with this SHA-256, in a time that does not depend on where they differ."""
    return compare_digest(sha256(key.encode()).digest(), digest)

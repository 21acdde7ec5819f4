"""The kinds of values in an access file. Each function raises ValueError, which says what the value must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from openbank.access.keys import KEY_ID

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones: who verifies a token cannot make one."""
TEXT_LENGTH_MAX = 500
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_DNS = re.compile(r"(\*\.)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_VISIBLE = re.compile(r"[!-{}~]+")
"""Printable ASCII without the space, and without "|", which stands between issuer and subject."""


def matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not pattern.fullmatch(value):
            raise ValueError(f"must be {what}")
        return value

    return read


name = matching(_NAME, "1 to 64 letters, digits, '.', '_' or '-'")
person_id = matching(_ID, "the id of a person: 1 to 64 characters of A-Z a-z 0-9 _ -")
key_id = matching(KEY_ID, "1 to 32 characters of a-z 0-9")
spiffe = matching(_SPIFFE, "a SPIFFE id such as spiffe://bank.example/ns/prod/sa/reporting")
dns = matching(_DNS, "a DNS name in lower case; its first label may be *")
issuer = matching(re.compile("[!-{}~]{1,200}"), "1 to 200 printable characters without space and |")
text = matching(_VISIBLE, f"1 to {TEXT_LENGTH_MAX} printable characters without space and |")
_digest = matching(_SHA256, "64 hexadecimal digits in lower case: the SHA-256 of the key")


def sha256(value: object) -> bytes:
    return bytes.fromhex(_digest(value))


def names(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise ValueError("must be a list of one or more names")
    return value


def algorithms(value: object) -> list[str]:
    wanted = names(value)
    if not set(wanted) <= set(ALGORITHMS):
        raise ValueError(f"must be a list of asymmetric algorithms: {', '.join(ALGORITHMS)}")
    return wanted


def texts_by_text(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError("must be a table of names")
    return dict(value)


def time(value: object) -> float:
    """In seconds since 1970."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a time with its zone, such as 2027-01-01T00:00:00Z")
    return value.timestamp()


def whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"must be a whole number, {least} to {most}")
        return value

    return read


def rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 1e9:
        raise ValueError("must be a number, 0.001 to 1000000000")
    return float(value)


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def key_set_url(value: object) -> str:
    """https, or http on this machine: anyone who can change the key set can make tokens."""
    wrong = "must be https://..., http:// on this machine, or file:PATH"
    try:
        address = urlsplit(text(value))
        host = address.hostname or ""
        _ = address.port
    except ValueError:
        raise ValueError(wrong) from None
    if address.scheme == "file" and address.path and not host:
        return str(value)
    if not host or address.username is not None or address.scheme not in ("https", "http"):
        raise ValueError(wrong)
    if address.scheme == "http" and not _is_here(host):
        raise ValueError(wrong)
    return str(value)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

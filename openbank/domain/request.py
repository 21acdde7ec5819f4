"""A request as its caller named it, and the fingerprint by which the same request is known again."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import NamedTuple

_HASH_VERSION = b"\x01"


class Request(NamedTuple):
    """What comes with a command beside what it is to do.

    `id` is the request_id's 16 bytes, empty without one. `hash` is the request's fingerprint, where there is an id.
    `expected_revision` is the one the aggregate must be at; None accepts any.
    """

    id: bytes = b""
    correlation_id: str = ""
    expected_revision: int | None = None
    hash: bytes = b""


def fingerprint(rpc: str, command: object) -> bytes:
    """16 bytes that tell one request from another: a format version and a hash.

    It is stored with every event and compared for as long as events live, so it is over the RPC's name and the
    command's own values by name, never over wire bytes; values that are empty or zero are left out, so that a field
    which a later version adds changes no fingerprint of a request that does not use it.
    """
    digest = hashlib.blake2b(rpc.encode(), digest_size=15)
    for name, value in _values("", command):
        text = value.encode()
        digest.update(b"\0%b\0%d\0%b" % (name.encode(), len(text), text))
    return _HASH_VERSION + digest.digest()


def _values(path: str, value: object) -> list[tuple[str, str]]:
    """Every value in `value`, as text, under its path; dataclasses and named tuples are walked by field."""
    names = _names(type(value))
    if names:
        return [found for name in names for found in _values(f"{path}.{name}", getattr(value, name))]
    text = "" if value is None or value == 0 else str(getattr(value, "value", value))
    return [(path, text)] if text else []


_NAMES: dict[type, tuple[str, ...]] = {}
"""Of each type of value that was met: they are few, and to look at a type costs more than the hash."""


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _NAMES:
        named = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else getattr(kind, "_fields", ())
        _NAMES[kind] = named
    return _NAMES[kind]

"""Ids that are derived from what they name, and how they are written."""

from __future__ import annotations

import hashlib
import os
from uuid import UUID

from openbank.domain.request import Request


def event_id(stream: str, request: Request, part: int, record_time: int) -> bytes:
    """The id of a command's event: from the request and its content, or random for a command without a request id.

    The record time is part of the content. Without it, two instances that get a request at the same time would make the
    same event: the store would report the second append as done, and its answer would have a time that is not in the
    log.
    """
    if not request.id:
        return _uuid(os.urandom(16))
    numbers = part.to_bytes(2) + record_time.to_bytes(8)
    return _uuid(_hash(b"event", stream.encode(), request.id, request.hash, numbers))


def aggregate_id(bank_id: str, kind: str, request: Request) -> str:
    """The id of a new person or account: from the request id, which is the whole bank's, or random without one.

    So a retry makes the same one, on any instance, after any restart.
    """
    made = _hash(b"id", bank_id.encode(), kind.encode(), request.id) if request.id else os.urandom(16)
    return str(UUID(bytes=_uuid(made)))


def reversal_id(bank_id: str, transfer_id: str) -> str:
    """The id of the transfer that takes another one back: always the same, since there is only one."""
    return str(UUID(bytes=_uuid(_hash(b"reversal", bank_id.encode(), transfer_id.encode()))))


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def _uuid(sixteen: bytes) -> bytes:
    """Marked as a UUID of version 8, which RFC 9562 leaves to applications."""
    marked = bytearray(sixteen)
    marked[6] = marked[6] & 0x0F | 0x80
    marked[8] = marked[8] & 0x3F | 0x80
    return bytes(marked)

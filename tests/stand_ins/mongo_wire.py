"""MongoDB's wire protocol, as much as a proxy needs: OP_MSG, and OP_QUERY for the first hello of a connection."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, NamedTuple

import bson

Document = dict[str, Any]

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_FLAGS_BYTES = 4


class Message(NamedTuple):
    id: int
    body: Document
    """A command, whose name is the first key, or the answer to one."""
    rest: bytes = b""
    """Sections with the documents of a bulk, as they came."""
    legacy: bool = False
    """A hello by OP_QUERY."""

    @property
    def command(self) -> str:
        return next(iter(self.body))


async def receive(reader: asyncio.StreamReader) -> Message:
    """Raises IncompleteReadError where the connection ends."""
    header = await reader.readexactly(_HEADER.size)
    size, message_id, _, operation = _HEADER.unpack(header)
    data = await reader.readexactly(size - _HEADER.size)
    if operation == _OP_QUERY:
        # Flags, the collection's name, how many to skip and how many to return.
        body, _ = _document(data, data.index(b"\0", _FLAGS_BYTES) + 1 + 8)
        return Message(message_id, {**body, "$db": "admin"}, legacy=True)
    assert operation == _OP_MSG, operation
    assert data[_FLAGS_BYTES] == 0, "the command is not the first section"
    body, end = _document(data, _FLAGS_BYTES + 1)
    return Message(message_id, body, data[end:])


def encode(message: Message, answer_to: int = 0) -> bytes:
    data = bytes(_FLAGS_BYTES) + b"\0" + bson.encode(message.body) + message.rest
    return _HEADER.pack(_HEADER.size + len(data), message.id, answer_to, _OP_MSG) + data


def answer(request: Message, body: Document) -> bytes:
    if not request.legacy:
        return encode(Message(0, body), request.id)
    # Flags, a cursor, where it starts, and the number of documents.
    data = struct.pack("<iqii", 0, 0, 0, 1) + bson.encode(body)
    return _HEADER.pack(_HEADER.size + len(data), 0, request.id, _OP_REPLY) + data


def _document(data: bytes, start: int) -> tuple[Document, int]:
    """A document and where it ends."""
    end = start + int.from_bytes(data[start : start + 4], "little")
    return bson.decode(data[start:end]), end

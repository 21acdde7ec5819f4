"""Tokens of a bank that runs, made and changed with its key."""

from __future__ import annotations

import base64
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

from openbank.eventstore.port import LogPosition
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.token import Tokens
from tests.eventstore.memory import MemoryStore


def tokens_of(data: Path) -> Tokens:
    """The tokens of the embedded bank with this directory."""
    with closing(sqlite3.connect(f"file:{data}/events.db?mode=ro", uri=True)) as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta"))
    store = MemoryStore()
    store.bank_id, store.store_id = meta["bank_id"], meta["store_id"]
    store.token_key = TokenKey.from_hex(meta["token_key"])
    return Tokens(store)


def moved(data: Path, token: str, far: int) -> str:
    """The token of a place further on."""
    tokens = tokens_of(data)
    _, at = tokens._parse(token, sealed_only=True)
    return tokens.encode(at._replace(position=at.position + far))


def open_token(bank_id: str, store_id: str, at: LogPosition) -> str:
    """What versions before sealing gave."""
    ids = bytes.fromhex(bank_id), bytes.fromhex(store_id)
    raw = struct.pack(">B16s16sqq", 1, *ids, at.position, at.revision) + at.stream.encode()
    return base64.urlsafe_b64encode(raw + struct.pack(">I", zlib.crc32(raw))).rstrip(b"=").decode()

"""Stored bytes that every later version must read; `__main__` says how some are added."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).with_name("events.jsonl")
STORE = Path(__file__).with_name("format-1.db")
STORE_LOG = Path(__file__).with_name("format-1.txt")


def lines() -> list[dict[str, Any]]:
    if not EVENTS.exists():
        return []
    return [json.loads(line) for line in EVENTS.read_text().splitlines()]


def said_by(value: Any) -> Any:
    """What a domain event says, as JSON has it: by name, so that a field may join later without changing the rest."""
    if is_dataclass(value):
        values = {field.name: said_by(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__, **values}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: said_by(getattr(value, name)) for name in value._fields}
    if isinstance(value, tuple):
        return [said_by(part) for part in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else value

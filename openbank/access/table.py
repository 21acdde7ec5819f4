"""Reading one table of a TOML file, key by key. A problem names the entry and the key, and repeats no value: it may be
a secret in the wrong place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

Value = TypeVar("Value")
Other = TypeVar("Other")
_KEY = re.compile(r"[a-z_]{1,40}")


class Problem(Exception):
    """What is wrong, and where: "[[key]] 2: sha256: must be 64 hexadecimal digits"."""


class Table:
    """`entry` names the table in problems. Each key is read once; `end` refuses those that nobody has read."""

    def __init__(self, entry: str, values: object) -> None:
        self.entry = entry
        if not isinstance(values, Mapping):
            raise Problem(f"{entry}: must be a table")
        self._values: dict[str, object] = dict(values)

    def required(self, key: str, read: Callable[[object], Value]) -> Value:
        """The value of a key as `read` gives it, which raises ValueError. Raises Problem."""
        if key not in self._values:
            raise self.problem(key, "is required")
        try:
            return read(self._values.pop(key))
        except ValueError as error:
            raise self.problem(key, str(error)) from None

    def optional(self, key: str, read: Callable[[object], Value], default: Other) -> Value | Other:
        return self.required(key, read) if key in self._values else default

    def has(self, key: str) -> bool:
        return key in self._values

    def problem(self, key: str, what: str) -> Problem:
        return Problem(f"{self.entry}: {key}: {what}")

    def end(self) -> None:
        for key in self._values:
            raise self.problem(key if _KEY.fullmatch(key) else "a key", "is not known here")

"""What callers attach to movements, transfers and holds for themselves. No rule of the bank looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Label(NamedTuple):
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Tags:
    """A reference, which need not be unique, and labels with different keys, in the caller's order."""

    external_reference: str = ""
    labels: Sequence[Label] = ()


NO_TAGS = Tags()

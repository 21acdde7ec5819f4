"""How long operations say how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[str, float | None], None]
"""Takes what is being done, "copying", and which part of that is done, 0 to 1; None where that is not known.

It returns at once: an operation may call it for every event."""


def unseen(_: str, __: float | None) -> None:
    """For operations at which nobody looks."""

"""The span of the call under way, for the parts that have a share in it. Standard library only."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Span(Protocol):
    """Times are nanoseconds since 1970, UTC."""

    def child(self, name: str, began: int, ended: int) -> None:
        """Records a part of the work, which is over."""
        ...

    def end(self, code: str) -> None:
        """Ends the span with the name of a status code. Only the first end counts."""
        ...


class Traces(Protocol):
    def call(self, method: str, traceparent: str) -> Span | None:
        """A span of a call that begins now; None for one that is not to be traced. `method` is its full name."""
        ...


current: ContextVar[Span | None] = ContextVar("span", default=None)
"""None in a call that is not traced."""

"""Where a store that has no index of request ids of its own may ask for one: the views have it, beside an account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Indexed(NamedTuple):
    """What an index knows of some request ids in one stream."""

    revisions: Sequence[int]
    """Of the events of these requests, as far as the index has seen the stream."""
    through: int
    """How far that is: the index knows every event of the stream up to this revision. 0 for a stream unknown to it."""


class RequestIndex(Protocol):
    shared: bool
    """Whether it is on a server, so that asking it takes round trips."""

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """Raises whatever it likes while it is away: the store then reads the stream instead."""
        ...

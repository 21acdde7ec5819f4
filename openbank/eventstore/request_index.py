"""An index of request ids for a store that has none of its own. The views have one, beside each account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Indexed(NamedTuple):
    """What an index knows about some request ids in one stream."""

    revisions: Sequence[int]
    """The revisions of the events of these requests, as far as the index has seen the stream."""
    through: int
    """The index knows every event of the stream up to this revision. 0 for an unknown stream."""


class RequestIndex(Protocol):
    shared: bool
    """Whether it is on a server, so that each question takes a round trip."""

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """May raise any error while it is unavailable: the store then reads the stream instead."""
        ...

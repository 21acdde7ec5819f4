"""The last revision of an aggregate, found by few reads even in long streams."""

from __future__ import annotations

from openbank.eventstore.port import EventStore


async def last_revision(store: EventStore, stream: str, until: int | None = None) -> int:
    """The last revision of a stream, or the last at or before the position `until`; 0 if there is none.

    Raises StoreUnavailable.
    """

    async def is_there(revision: int) -> bool:
        at = await store.locate(stream, revision)
        return at is not None and (until is None or at.position <= until)

    low, step = 0, 1
    while await is_there(low + step):
        low += step
        step *= 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await is_there(middle) else (low, middle)
    return low

"""Places in a log."""

from __future__ import annotations

from openbank.eventstore.port import EventStore, LogPosition


async def holds(store: EventStore, at: LogPosition) -> bool:
    """Whether the log reaches to this place and has its event.

    A log that was restored from a backup may not. An event that operators have hidden in its stream does not count as
    lost.
    """
    here = await store.locate(at.stream, at.revision) if at.stream else None
    if here is None and at.stream:
        return await store.hides_events(at.stream)
    return at.position <= (await store.head()).position and (here is None or here.position <= at.position)

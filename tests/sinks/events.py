"""CloudEvents to send."""

from __future__ import annotations

from openbank.publishing.cloudevent import CloudEvent
from openbank.publishing.events import cloud_event
from tests.eventstore.memory import MemoryStore
from tests.views.histories import History


async def some_cloud_events(count: int = 3) -> list[CloudEvent]:
    """Ann, her account, and deposits on it."""
    history = History(MemoryStore())
    await history.register("ann")
    await history.open("1", "ann")
    while len(await history.events()) < count:
        await history.deposit("1")
    made = [cloud_event(event) for event in await history.events()]
    return [event for event in made if event is not None][:count]

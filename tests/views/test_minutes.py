"""Places of minutes: where a watch that starts at a time begins to look, however clocks ran."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from openbank.codec import events as codec
from openbank.domain.internal import RequestClaimed
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.following.tail import LogTail
from openbank.views.port import MINUTE_MICROSECONDS
from openbank.views.sqlite import SqliteViews
from tests.eventstore.memory import MemoryStore, new_events
from tests.views.histories import LOG, START, new_projector

PATIENCE_SECONDS = 10.0
CLAIMED = codec.encode(RequestClaimed("RegisterPerson", bytes(16), "john-doe", ""))
"""The type and the data of an event of the bank's that changes nothing else in the views."""
SECOND = 1_000_000


@given(
    seconds=st.lists(st.integers(0, 600), max_size=30),
    batch_events_max=st.integers(1, 8),
    back_to=st.lists(st.integers(0, 29), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_minutes_lead_to_the_first_event_of_any_time(
    seconds: Sequence[int], batch_events_max: int, back_to: Sequence[int]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_tell(SqliteViews(Path(directory)), seconds, batch_events_max, back_to))


async def _tell(views: SqliteViews, seconds: Sequence[int], batch_events_max: int, back_to: Sequence[int]) -> None:
    store = MemoryStore(step=7)
    for number, second in enumerate(seconds):
        kind, data = CLAIMED
        claimed = new_events(time=START + second * SECOND, type=kind)[0]._replace(data=data)
        await store.append(f"request-{number}", 0, [claimed])
    await views.clear(LOG)
    await _project(store, views, batch_events_max)
    for number in back_to:
        # As after a kill between data and checkpoint, or of views that another instance went on with.
        if number < len(store.events):
            views.place = store.events[number].place
            await _project(store, views, batch_events_max)
    for time in range(START - 60 * SECOND, START + 700 * SECOND, 7 * SECOND):
        await _assert_leads_to(time, store, views)
    await views.close()


async def _assert_leads_to(time: int, store: MemoryStore, views: SqliteViews) -> None:
    place = await views.place_before(time)
    assert await store.position_at(time, place) == await store.position_at(time)
    # And spares all but the minute itself.
    assert place == _reached(store.events).get(time // MINUTE_MICROSECONDS, BEGINNING)


def _reached(events: Sequence[RecordedEvent]) -> dict[int, LogPosition]:
    """For every minute, the place before the event by which the log reached it, or the last one before it."""
    places: dict[int, LogPosition] = {}
    latest, before = -1, BEGINNING
    for event in events:
        minute = event.metadata.record_time // MINUTE_MICROSECONDS
        if minute > latest:
            places.update(dict.fromkeys(range(minute, START // MINUTE_MICROSECONDS + 20), before))
            latest = minute
        before = event.place
    return places


async def _project(store: MemoryStore, views: SqliteViews, batch_events_max: int) -> None:
    tail = LogTail(store)
    tasks = [
        asyncio.create_task(tail.run()),
        asyncio.create_task(new_projector(store, tail.reader(), views, batch_events_max).run()),
    ]
    await asyncio.wait_for(views.wait_for((await store.head()).position), PATIENCE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Checks events for the followers of the log, which believe only checked events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from openbank.codec.events import DomainEvent, is_newer, is_ours
from openbank.domain.errors import DoesNotFollow
from openbank.eventstore.errors import NewerVersionNeeded, StreamDamaged
from openbank.eventstore.port import EventStore, LogPosition, RecordedEvent
from openbank.eventstore.quarantine_record import SetAside
from openbank.integrity.quarantine import Quarantine
from openbank.integrity.trail import START, UNKNOWN_TYPE, Followed, Trail, follow, trail_after

TRAILS_MAX = 20_000
"""The most trails kept in memory, about 250 bytes each. A trail that is not kept costs a read of one event."""
PAGE = 1_000
STEP = 100
"""Events read at a time to find the last one of the bank's in a stream that other programs have written into."""


class Checked(NamedTuple):
    """An event, and what happened: None if it means nothing to the bank, or is believed without being decoded.

    An event that is `aside` is not believed. A `skipped` event was declared by an operator not to be the bank's. With
    `newer` this version cannot check it: a follower that must not miss an event stops before it.
    """

    event: RecordedEvent
    happened: DomainEvent | None = None
    aside: SetAside | None = None
    skipped: bool = False
    newer: NewerVersionNeeded | None = None


class Checker:
    """The checks of one follower, which passes the log from anywhere on, in order.

    An event that does not follow is durably set aside before the check returns. Unless the checker is `thorough`, the
    result of an earlier check is looked up. A thorough checker begins where everything before has been checked. Another
    one may begin anywhere, and checks the unchecked part of a stream.
    """

    def __init__(self, store: EventStore, quarantine: Quarantine, *, thorough: bool = False) -> None:
        self._store = store
        self._quarantine = quarantine
        self._thorough = thorough
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    async def check(self, events: Sequence[RecordedEvent]) -> list[Checked]:
        """Consecutive events of the log, in order. Raises StoreUnavailable; StoreDamaged with too many set aside."""
        while True:
            releases = self._quarantine.releases
            checked = await self._check_all(events)
            if releases == self._quarantine.releases:
                return checked

    async def _check_all(self, events: Sequence[RecordedEvent]) -> list[Checked]:
        fresh = [event for event in events if self._thorough or event.position > self._quarantine.checked]
        checked = self._look_up_all(events[: len(events) - len(fresh)])
        own = list(map(self._own, fresh))
        if None in own:
            await self._find_trails([event for event, one in zip(fresh, own, strict=True) if one is None])
        for event, one in zip(fresh, own, strict=True):
            # The first look at own events was before trails were read and before others were judged.
            aside = self._quarantine.of(event.stream, event.revision)
            if aside:
                one = Checked(event, aside=aside)
            checked.append(one or self._own(event) or await self._judge(event))
        return checked

    def _own(self, event: RecordedEvent) -> Checked | None:
        """Believes an event that this process appended, if it was decided on exactly what is believed of its stream.

        It was checked against that before the append. Returns None for all other events.
        """
        made = event.data
        if not isinstance(made, Followed):
            return None
        stream = event.stream
        if made.before != self._trails.get(stream, START):
            return None
        if made.stream != stream or made.after.revision != event.revision:
            return None
        if self._quarantine.of(stream, event.revision) or self._quarantine.is_skipped(stream, event.revision):
            return None
        self._keep(stream, made.after)
        return Checked(event, made.event)

    async def again(self, stream: str, revision: int, through: int) -> AsyncIterator[list[Checked]]:
        """Checks a stream once more, from a revision on up to the position `through`; the last page may end with an
        event that is set aside. If all events follow, the aggregate is released after the last page, unless the
        followers of the log have not reached that event yet.
        """
        after = revision - 1
        self._trails.pop(stream, None)
        while True:
            try:
                events = await self._store.read_stream(stream, after, STEP)
            except StreamDamaged as error:
                aside = self._quarantine.of(stream)
                at = LogPosition(aside.position if aside else 0, stream, min(error.revision, revision))
                await self._quarantine.set_aside(at, str(error))
                return
            passed = [event for event in events if event.position <= through]
            page: list[Checked] = []
            for event in passed:
                one = await self._check_again(event)
                if one.newer:
                    # The followers of the log have passed this event, so they cannot wait for the newer version here.
                    one = Checked(event, aside=await self._quarantine.set_aside(event.place, UNKNOWN_TYPE))
                page.append(one)
                if one.aside:
                    yield page
                    return
            yield page
            if len(passed) < STEP:
                aside = self._quarantine.of(stream)
                if aside and aside.retrying and aside.position <= through:
                    await self._quarantine.release(stream, through)
                return
            after = passed[-1].revision

    async def _check_again(self, event: RecordedEvent) -> Checked:
        aside = self._quarantine.of(event.stream, event.revision)
        return Checked(event, aside=aside) if aside and not aside.retrying else await self._judge(event)

    def _look_up_all(self, events: Sequence[RecordedEvent]) -> list[Checked]:
        if self._quarantine.is_empty and not any(map(is_newer, {event.type for event in events})):
            return [Checked(event) for event in events]
        return [self._look_up(event) for event in events]

    def _look_up(self, event: RecordedEvent) -> Checked:
        aside = self._quarantine.of(event.stream, event.revision)
        if aside:
            return Checked(event, aside=aside)
        if self._quarantine.is_skipped(event.stream, event.revision):
            return Checked(event, skipped=True)
        # An instance of a newer version may have checked the event.
        if is_newer(event.type):
            met = NewerVersionNeeded(event.stream, event.revision, event.type)
            return Checked(event, newer=self._quarantine.newer.meet(met))
        return Checked(event)

    async def _judge(self, event: RecordedEvent) -> Checked:
        stream, revision = event.stream, event.revision
        newer = self._quarantine.newer.of(stream, revision)
        if newer:
            return Checked(event, newer=newer)
        try:
            trail = self._trails.get(stream)
            if trail is None or trail.revision != revision - 1:
                # The trail is not kept, or the log was read without an event that an operator has skipped.
                trail = await self._trail_before(event)
                aside = self._quarantine.of(stream, revision)
                if aside and not aside.retrying:
                    # The aggregate is set aside because of an earlier event, which was checked only now.
                    return Checked(event, aside=aside)
            if self._quarantine.is_skipped(stream, revision):
                self._keep(stream, trail._replace(revision=revision))
                return Checked(event, skipped=True)
            trail, happened = follow(trail, event)
        except NewerVersionNeeded as error:
            return Checked(event, newer=self._quarantine.newer.meet(error))
        except DoesNotFollow as error:
            return Checked(event, aside=await self._quarantine.set_aside(event.place, str(error)))
        self._keep(stream, trail)
        return Checked(event, happened)

    def _keep(self, stream: str, trail: Trail) -> None:
        self._trails[stream] = trail
        self._trails.move_to_end(stream)
        if len(self._trails) > TRAILS_MAX:
            self._trails.popitem(last=False)

    async def _find_trails(self, events: Sequence[RecordedEvent]) -> None:
        """Reads the trails that are not kept, all at once if a read is a round trip."""
        first: dict[str, RecordedEvent] = {}
        for event in events:
            first.setdefault(event.stream, event)
        missing = [event for event in first.values() if not self._has_trail_before(event)]
        if missing:
            if self._store.sole_writer:
                trails = [await self._known_trail_before(event) for event in missing]
            else:
                trails = await asyncio.gather(*map(self._known_trail_before, missing))
            for event, trail in zip(missing, trails, strict=True):
                if trail:
                    self._keep(event.stream, trail)

    def _has_trail_before(self, event: RecordedEvent) -> bool:
        trail = self._trails.get(event.stream)
        return trail is not None and trail.revision == event.revision - 1

    async def _known_trail_before(self, event: RecordedEvent) -> Trail | None:
        """None if only a newer version knows."""
        try:
            return await self._trail_before(event)
        except NewerVersionNeeded:
            return None

    async def _trail_before(self, event: RecordedEvent) -> Trail:
        """The end of the stream before `event`; for a stream that has lost events, an empty one."""
        stream, before = event.stream, event.revision - 1
        try:
            last = await self._last_of_ours(stream, before)
            if last is None:
                return Trail(before)
            if self._thorough or last.position <= self._quarantine.checked:
                return self._after(last)._replace(revision=before)
            return await self._trail_through(stream, before)
        except StreamDamaged:
            return START

    async def _last_of_ours(self, stream: str, through: int) -> RecordedEvent | None:
        """The last event of the bank's up to a revision."""
        after = through
        while after > 0:
            upto, after = after, max(0, after - (STEP if after < through else 1))
            for event in reversed(await self._store.read_stream(stream, after, upto - after)):
                if is_ours(event.type) and not self._quarantine.is_skipped(stream, event.revision):
                    return event
        return None

    async def _trail_through(self, stream: str, through: int) -> Trail:
        """The end of the stream at the revision `through`, whose last events are unchecked.

        They are checked from the newest snapshot on, as commands do. What does not follow is set aside.
        """
        trail = await self._trail_of_snapshot(stream, through)
        while trail.revision < through:
            page = await self._store.read_stream(stream, trail.revision, min(PAGE, through - trail.revision))
            if not page:
                return START
            for event in page:
                if self._quarantine.of(stream, event.revision):
                    return trail
                if self._quarantine.is_skipped(stream, event.revision):
                    trail = trail._replace(revision=event.revision)
                    continue
                try:
                    trail, _ = follow(trail, event)
                except DoesNotFollow as error:
                    await self._quarantine.set_aside(event.place, str(error))
                    return trail
        return trail

    async def _trail_of_snapshot(self, stream: str, through: int) -> Trail:
        snapshot = await self._store.snapshot(stream, through)
        if snapshot is None or not snapshot.revision:
            return START
        events = await self._store.read_stream(stream, snapshot.revision - 1, 1)
        return self._after(events[0]) if events and events[0].id == snapshot.event_id else START

    def _after(self, event: RecordedEvent) -> Trail:
        try:
            return trail_after(event) or START
        except DoesNotFollow:
            # Nothing can follow this event, and it is set aside or will be.
            return START

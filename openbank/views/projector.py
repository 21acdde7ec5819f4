"""Keeps the views up with the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from openbank.codec.events import is_ours, place_after
from openbank.eventstore.errors import NewerVersionNeeded, StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.known import known, needed_by
from openbank.eventstore.port import EventStore, LogPosition, LogSlice, RecordedEvent, holds
from openbank.eventstore.quarantine_record import NUMBER_MAX, Released
from openbank.eventstore.streams import ACCOUNT, NUMBER, REQUEST, split
from openbank.following.log import Log
from openbank.integrity.checking import Checked, Checker
from openbank.integrity.quarantine import Quarantine, TooManyQuarantined
from openbank.pause import Backoff
from openbank.views import projections
from openbank.views.changes import Change, MinuteReached
from openbank.views.port import MINUTE_MICROSECONDS, NO_MINUTE, LogId, Views, ViewsDamaged, ViewsUnavailable

READ_EVENTS_MAX = 500
"""Events in one read of the log, which may be a round trip."""
SLICE_EVENTS = 100
"""Events checked in one turn of the event loop, which more would hold up for too long."""
BATCH_EVENTS_MAX = 4_000
"""Events in one transaction, when there are as many: a page that several of them change is then written once."""
POLL_SECONDS = 0.5
"""How soon an operator's wish is seen while nothing is appended."""
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 1.0
"""A store that is back is noticed soon. Until then a try costs little: it is refused at once."""
_INTERNAL = frozenset({REQUEST, NUMBER})

_log = logging.getLogger(__name__)


async def match_log(views: Views, store: EventStore) -> None:
    """Views of another store's log of the same bank start over; to be called before anyone reads them.

    Each copy of a log has a store id of its own, a restored backup too; so a log that is behind its own views has lost
    events. Raises StoreRefused for that, and for another bank's views.
    """
    log = LogId(store.bank_id, store.store_id)
    if views.log is None:
        await views.clear(log)
    elif views.log.bank_id != log.bank_id:
        raise StoreRefused(_other_bank(views, log))
    elif views.log != log:
        _rebuild("they are of another log", views)
        await views.clear(log)
    elif not await holds(store, views.position):
        raise StoreRefused(await _loss(store, views.position))
    elif not await _has_event(store, views):
        raise StoreRefused(
            f"the log has another event at position {views.position.position} than the views have seen there: it has"
            f" lost events, and others have taken their place; {store.after_loss}"
        )


async def _has_event(store: EventStore, views: Views) -> bool:
    """Whether the last event that the views have seen is the one in the log, where they keep its id."""
    seen = views.position
    category, aggregate_id = split(seen.stream)
    if category != ACCOUNT:
        return True
    kept = await views.account_events(aggregate_id, seen.revision + 1, 1)
    try:
        stored = await store.read_stream(seen.stream, seen.revision - 1, 1)
    except StoreDamaged:
        return True  # Of this stream alone.
    here = [event for event in kept if event.revision == seen.revision]
    return not here or not stored or stored[0].id == here[0].id


def _other_bank(views: Views, log: LogId) -> str:
    assert views.log is not None
    other = f"these views belong to the bank {views.log.bank_id}, not to {log.bank_id}"
    return other if views.shared else f"{other}: serve the right log, or remove views.db to build views of this one"


async def _loss(store: EventStore, seen: LogPosition) -> str:
    head = await store.head()
    return (
        f"the log ends at position {head.position}, and the views have seen it come to {seen.position}: it has lost"
        f" events; {store.after_loss}"
    )


def _rebuild(reason: str, views: Views) -> None:
    _log.warning("views are rebuilt", extra={"values": {"reason": reason, "position": views.position.position}})


async def _at_once() -> None:
    await asyncio.sleep(0)


class Projector:
    """Follows the log from where the views are, batch by batch.

    Every event is checked before it is projected. One that does not follow stops its own aggregate, from that event on:
    the views keep what came before. A store that is away only makes it wait; damage stops it for good.
    """

    def __init__(
        self,
        log: Log,
        views: Views,
        checker: Checker,
        quarantine: Quarantine,
        batch_events_max: int = BATCH_EVENTS_MAX,
        give_way: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        """`checker` is to be thorough, and this projector's own. `give_way` is awaited between slices of work."""
        self.failure: str | None = None
        """Why it has stopped, for health and for people: without personal data."""
        self.available = True
        """Whether the log and the views could be reached when it last tried."""
        self.skipped = 0
        """How many events of other programs it has passed."""
        self._log = log
        self._views = views
        self._checker = checker
        self._quarantine = quarantine
        self._give_way = give_way
        self._batch_events_max = batch_events_max
        self._batch_events = batch_events_max
        """Less, after a batch that did not get through: views so slow that it never will must still come on."""
        self._left_out: dict[str, Released] = {}
        """By stream: what the views may not have, as it is set aside, or was when they passed it."""
        self._minute = NO_MINUTE
        """The last one that the log has reached, up to the position `_minute_at`."""
        self._minute_at: int | None = None
        self._retried_unknown = False
        self._newer_at: int | None = None

    @property
    def needs_newer_version(self) -> bool:
        """Whether the views stand before an event that only a newer version knows."""
        return self._newer_at == self._views.position.position

    async def run(self) -> None:
        """Until cancelled, or until there is a `failure`. Raises NewerVersionNeeded: another instance may be newer."""
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        started = False
        while self.failure is None:
            try:
                if not started:
                    if not self._retried_unknown:
                        await self._quarantine.retry_unknown()
                        self._retried_unknown = True
                    self._left_out = dict(self._quarantine.released)
                    started = True
                await self._advance()
                backoff.reset()
            except (ViewsDamaged, StoreDamaged) as error:
                self._stop(str(error))
            except NewerVersionNeeded as error:
                self._newer_at = self._views.position.position
                self._note_unavailable(error)
                raise
            except (ViewsUnavailable, StoreUnavailable) as error:
                self._batch_events = max(1, self._batch_events // 4)
                self._note_unavailable(error)
                await asyncio.sleep(backoff.next())

    async def _advance(self) -> None:
        """One batch from where the views say that they are, so that what failed half-way is done again."""
        at = self._views.position
        for stream in self._believed_again():
            await self._project_again(stream, at)
        releases = self._quarantine.releases
        batch = await self._read(at)
        if releases != self._quarantine.releases:
            return  # What is believed only now comes first: an account's events reach the views in order.
        if batch.through.position > at.position:
            await self._views.project(batch.changes, batch.through, at)
            self._batch_events = min(2 * self._batch_events, self._batch_events_max)
            self._minute, self._minute_at = batch.minute, batch.through.position
            self.skipped += batch.skipped
            self._quarantine.checked = max(self._quarantine.checked, batch.through.position)
        self._note_available()
        if batch.through.position == at.position:
            # An operator may want an aggregate to be tried again.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._log.wait(at.position)

    def _believed_again(self) -> Sequence[str]:
        """Streams with events that the views have left out, and that may be believed by now."""
        aside = self._quarantine.aside
        for stream, held in aside.items():
            left_out = self._left_out.get(stream)
            revision = min(held.revision, left_out.revision) if left_out else held.revision
            self._left_out[stream] = Released(revision, NUMBER_MAX)
        return [
            stream
            for stream, left_out in self._left_out.items()
            if stream not in aside or aside[stream].revision > left_out.revision or aside[stream].retrying
        ]

    async def _project_again(self, stream: str, at: LogPosition) -> None:
        """What was set aside of a stream, as far as it follows now; the views are at `at` and stay there."""
        left_out = self._left_out[stream]
        through = min(at.position, left_out.position)
        async for page in self._checker.again(stream, left_out.revision, through):
            await self._views.project([change for one in page for change in changes_of(one)], at, at)
        del self._left_out[stream]
        aside = self._quarantine.of(stream)
        if aside:
            self._left_out[stream] = Released(aside.revision, NUMBER_MAX)

    async def _read(self, after: LogPosition) -> _Batch:
        """What follows `after`: all there is, or what one transaction is to hold."""
        if self._minute_at != after.position:
            # At the start, and where another instance has projected meanwhile.
            self._minute = await self._views.last_minute()
        batch = _Batch(after, self._minute)
        caught_up = False
        while not caught_up and batch.events < self._batch_events:
            try:
                read = await self._log.read(batch.through, min(READ_EVENTS_MAX, self._batch_events))
                checked = await self._check(read.events)
                before = known(checked)
                if checked and not before:
                    raise needed_by(checked)
            except (NewerVersionNeeded, TooManyQuarantined):
                # First what comes before: also, only what the views have passed can be released, to make room.
                if batch.events:
                    break
                raise
            if len(before) < len(checked):
                events = [one.event for one in before]
                read = LogSlice(events, place_after(events, batch.through))
            batch.add(read, before)
            caught_up = read.caught_up
            if not caught_up:
                await self._give_way()
        return batch

    async def _check(self, events: Sequence[RecordedEvent]) -> list[Checked]:
        """In slices; calls go first between them."""
        checked: list[Checked] = []
        for start in range(0, len(events), SLICE_EVENTS):
            if start:
                await self._give_way()
            checked += await self._checker.check(events[start : start + SLICE_EVENTS])
        return checked

    def _stop(self, failure: str) -> None:
        self.failure = failure
        _log.error("projector stopped", extra={"values": {"reason": failure}})

    def _note_unavailable(self, error: Exception) -> None:
        if self.available:
            _log.warning("projector waits", extra={"values": {"reason": error}})
        self.available = False

    def _note_available(self) -> None:
        if not self.available:
            _log.info("projector continues", extra={"values": {"position": self._views.position.position}})
        self.available = True


class _Batch:
    """What consecutive events change, up to `through`."""

    def __init__(self, after: LogPosition, minute: int) -> None:
        self.through = after
        self.minute = minute
        """The last minute that was reached up to there."""
        self.changes: list[Change] = []
        self.events = 0
        self.skipped = 0

    def add(self, read: LogSlice, checked: Sequence[Checked]) -> None:
        """What comes next, as it was read, and the same checked."""
        for one in checked:
            self.changes += changes_of(one)
        self._note_minutes([one.event for one in checked if not (one.aside or one.skipped)])
        self.events += len(checked) + len(read.aside)
        self.skipped += sum(not is_ours(one.event.type) for one in checked)
        self.through = read.through

    def _note_minutes(self, events: Sequence[RecordedEvent]) -> None:
        for number, event in enumerate(events):
            minute = event.metadata.record_time // MINUTE_MICROSECONDS
            if minute > self.minute and is_ours(event.type):
                self.changes.append(MinuteReached(minute, place_after(events[:number], self.through)))
                self.minute = minute


def changes_of(checked: Checked) -> Sequence[Change]:
    """Nothing for what is not believed, for the events of other programs and for what the bank keeps for itself."""
    event, happened, *_ = checked
    if happened is None or split(event.stream)[0] in _INTERNAL:
        return ()
    return projections.project(event, happened)

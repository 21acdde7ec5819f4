"""Keeps the views up with the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from openbank.codec.events import place_after
from openbank.eventstore.errors import NewerVersionNeeded, StoreDamaged, StoreUnavailable
from openbank.eventstore.known import known, needed_by
from openbank.eventstore.port import LogPosition, LogSlice, RecordedEvent
from openbank.eventstore.quarantine_record import NUMBER_MAX, Released
from openbank.following.log import Log
from openbank.integrity.checking import Checked, Checker
from openbank.integrity.quarantine import Quarantine, TooManyQuarantined
from openbank.pause import Backoff
from openbank.views.batch import Batch, changes_of
from openbank.views.port import NO_MINUTE, Filled, ViewsDamaged, ViewsFull, ViewsReplaced, ViewsUnavailable

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

_log = logging.getLogger(__name__)


async def _at_once() -> None:
    await asyncio.sleep(0)


async def _never() -> bool:
    return False


class Projector:
    """Follows the log from where the views are, batch by batch.

    Every event is checked before it is projected. One that does not follow stops its own aggregate, from that event on:
    the views keep what came before. A store that is away only makes it wait; damage stops it for good.
    """

    def __init__(
        self,
        log: Log,
        views: Filled,
        checker: Checker,
        quarantine: Quarantine,
        batch_events_max: int = BATCH_EVENTS_MAX,
        give_way: Callable[[], Awaitable[None]] = _at_once,
        name: str = "projector",
        *,
        decides: bool = True,
    ) -> None:
        """`checker` is to be thorough, and this projector's own. `give_way` is awaited between slices of work. `name`
        is for the log. Of several that pass the log, the one that `decides` checks again what an operator wants to be
        tried.
        """
        self.failure: str | None = None
        """Why it has stopped, for health and for people: without personal data."""
        self.available = True
        """Whether the log and the views could be reached when it last tried."""
        self.skipped = 0
        """How many events of other programs it has passed."""
        self.caught_up = False
        """Whether its last batch reached to the end of the log."""
        self._log = log
        self._views = views
        self._checker = checker
        self._quarantine = quarantine
        self._give_way = give_way
        self._batch_events_max = batch_events_max
        self._batch_events = batch_events_max
        """Fewer after a batch that failed, so that slow views still make progress."""
        self._name = name
        self._decides = decides
        self._generation: int | None = None
        """The generation of the views that `_left_out` belongs to."""
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
        return self._newer_at == self._views.place.position

    @property
    def _are_others(self) -> bool:
        """Whether the views are other ones than `_left_out` says something of."""
        return self._generation != self._views.generation

    async def run(self, done: Callable[[], Awaitable[bool]] = _never) -> None:
        """Runs until cancelled, until `done` says so between two batches, or until there is a `failure`.

        Raises NewerVersionNeeded: another instance may be newer.
        """
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        self._generation = None
        while self.failure is None:
            try:
                if self._decides and not self._retried_unknown:
                    await self._quarantine.retry_unknown()
                    self._retried_unknown = True
                if await done():
                    return
                await self.advance()
                backoff.reset()
            except (ViewsDamaged, StoreDamaged) as error:
                self._stop(str(error))
            except ViewsReplaced:
                continue
            except NewerVersionNeeded as error:
                self._newer_at = self._views.place.position
                self._note_unavailable(error)
                raise
            except (ViewsUnavailable, StoreUnavailable) as error:
                if isinstance(error, ViewsFull) and not self._decides:
                    # What is built beside must not take the room that the bank itself needs.
                    self._stop(str(error))
                    continue
                self._batch_events = max(1, self._batch_events // 4)
                self._note_unavailable(error)
                await asyncio.sleep(backoff.next())

    async def again(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work`, which calls `run`, until cancelled. After a failure it waits until other views have replaced
        these, and runs `work` again."""
        generation = None
        while True:
            if self._views.generation == generation:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self.failure = None
            await work()
            generation = self._views.generation

    async def advance(self) -> None:
        """One batch from where the views say that they are, so that what failed half-way is done again."""
        if self._are_others:
            self._left_out = self._released(replaced=self._generation is not None)
            self._generation = self._views.generation
        at, releases = self._views.place, self._quarantine.releases
        for stream in self._believed_again():
            await self._project_again(stream, at)
        batch = await self._read(at)
        if releases != self._quarantine.releases or self._are_others:
            # What is believed only now comes first: an account's events reach the views in order. Other views may lack
            # what these had already.
            return
        if batch.through.position > at.position:
            await self._views.project(batch.changes, batch.through, at)
            self._leave_out(batch.left_out)
            self._batch_events = min(2 * self._batch_events, self._batch_events_max)
            self._minute, self._minute_at = batch.minute, batch.through.position
            self.skipped += batch.skipped
            if self._decides:
                self._quarantine.checked = max(self._quarantine.checked, batch.through.position)
        self._note_available()
        if batch.through.position == at.position:
            # An operator may want an aggregate to be tried again.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._log.wait(at.position)

    def _released(self, replaced: bool) -> dict[str, Released]:
        """What these views may lack of what is believed now. Views that somebody else has filled, and that have
        `replaced` these, may have passed more of a stream before it was released."""
        released = self._quarantine.released
        return {stream: Released(one.revision, NUMBER_MAX) if replaced else one for stream, one in released.items()}

    def _believed_again(self) -> Sequence[str]:
        """Streams with events that the views have left out, and that may be believed by now."""
        aside = self._quarantine.aside
        self._leave_out({stream: held.revision for stream, held in aside.items()})
        return [
            stream
            for stream, left_out in self._left_out.items()
            if stream not in aside
            or aside[stream].revision > left_out.revision
            or (aside[stream].retrying and self._decides)
        ]

    def _leave_out(self, streams: Mapping[str, int]) -> None:
        """Notes these from a revision on, also where another task releases them at this moment."""
        for stream, revision in streams.items():
            left_out = self._left_out.get(stream)
            first = min(revision, left_out.revision) if left_out else revision
            self._left_out[stream] = Released(first, NUMBER_MAX)

    async def _project_again(self, stream: str, at: LogPosition) -> None:
        """What was set aside of a stream, as far as it follows now; the views are at `at` and stay there."""
        left_out, releases = self._left_out[stream], self._quarantine.releases
        through = min(at.position, left_out.position)
        async for page in self._checker.again(stream, left_out.revision, through):
            await self._views.project([change for one in page for change in changes_of(one)], at, at)
        if releases != self._quarantine.releases:
            return  # More may be believed by now than was when it was checked here.
        del self._left_out[stream]
        aside = self._quarantine.of(stream)
        if aside:
            self._left_out[stream] = Released(aside.revision, NUMBER_MAX)

    async def _read(self, after: LogPosition) -> Batch:
        """What follows `after`: all there is, or what one transaction is to hold."""
        if self._minute_at != after.position:
            # At the start, and where another instance has projected meanwhile.
            self._minute = await self._views.last_minute()
        batch = Batch(after, self._minute)
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
        self.caught_up = caught_up
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
        _log.error("%s stopped", self._name, extra={"values": {"reason": failure}})

    def _note_unavailable(self, error: Exception) -> None:
        if self.available:
            _log.warning("%s waits", self._name, extra={"values": {"reason": error}})
        self.available = False

    def _note_available(self) -> None:
        if not self.available:
            _log.info("%s continues", self._name, extra={"values": {"position": self._views.place.position}})
        self.available = True

"""Rebuilds the views beside those that serve."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from openbank.domain.clock import Clock
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.places import holds
from openbank.eventstore.port import EventStore, LogPosition
from openbank.following.log import Log
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from openbank.pause import Backoff, Pause
from openbank.views.port import Views, ViewsUnavailable
from openbank.views.progress import SAMPLE_SECONDS, SAY_SECONDS, Rate, figures
from openbank.views.projector import Projector
from openbank.views.rebuild import Filling, Rebuilds

BATCH_EVENTS_MAX = 1_000
"""Events in one transaction: fewer than where nothing serves, so that live changes soon have their turn."""
REBUILD_GIVES_WAY_SECONDS = 0.01
"""How long each slice of work stands back for calls: longer than live projection does."""
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 30.0
LOOK_SECONDS = 1.0
"""How soon an instance sees that a rebuild was asked of another one."""

Alone = Callable[[Callable[[], Awaitable[None]]], Callable[[], Awaitable[None]]]
"""Makes of some work what one instance does of those that share the views."""

_log = logging.getLogger(__name__)


class Rebuilder:
    """`RebuildDesk`, and the work that an operator asks it for."""

    def __init__(
        self,
        rebuilds: Rebuilds,
        views: Views,
        store: EventStore,
        log: Log,
        quarantine: Quarantine,
        alone: Alone,
        give_way: Callable[[], Awaitable[None]],
        clock: Clock,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`views` are those that serve. `give_way` is awaited between slices of work."""
        self._rebuilds = rebuilds
        self._views = views
        self._store = store
        self._log = log
        self._quarantine = quarantine
        self._give_way = give_way
        self._clock = clock
        self._now = now
        self._work = alone(self._fill)
        self._rate = Rate()
        self._idling = Pause()
        self._said_at: float | None = None
        """When the log got its last line about this; None while another instance fills."""

    @property
    def complete(self) -> bool:
        return self._views.complete

    @property
    def serving(self) -> LogPosition:
        return self._views.place

    async def head(self) -> LogPosition:
        return await self._store.head()

    async def start(self) -> None:
        await self._rebuilds.start(self._clock())
        self._idling.end()

    def seconds_left(self) -> float | None:
        """Until a rebuild under way has ended, if known."""
        filling = self.filling()
        return filling.seconds_left if filling else None

    def filling(self) -> Filling | None:
        record = self._rebuilds.record
        if record is None:
            return None
        rate = self._rate.per_second() if record.running else None
        if rate is None:
            return Filling(record, None, None)
        left = max(0, self.serving.position - record.place.position)
        return Filling(record, round(rate), round(left / rate))

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        completed = False
        while True:
            try:
                if not completed:
                    await self._complete()
                    completed = True
                record = self._rebuilds.record
                if record is not None and record.running:
                    await self._work()
                    backoff.reset()
            except (StoreUnavailable, ViewsUnavailable) as error:
                _log.warning("rebuild of the views waits", extra={"values": {"reason": error}})
                await asyncio.sleep(backoff.next())
            await self._idling.wait(LOOK_SECONDS)

    async def watch(self) -> None:
        """Samples the progress, whichever instance makes it, until cancelled."""
        while True:
            self._sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _sample(self) -> None:
        record, now = self._rebuilds.record, self._now()
        if record is None or not record.running:
            self._rate.clear()
            return
        self._rate.sample(now, record.place.position)
        if self._said_at is not None and now >= self._said_at + SAY_SECONDS:
            self._said_at = now
            values = figures(record.place.position, self.serving.position, self._rate.per_second())
            _log.info("rebuild of the views proceeds", extra={"values": values})

    async def _complete(self) -> None:
        """Sees to views of an earlier format. Raises ViewsUnavailable."""
        if self._views.complete:
            return
        if self._views.shared:
            # Instances of the earlier version cannot use the new views, and there may be some.
            what = "run openbank rebuild once all instances are of this version"
            _log.warning("views are of an earlier format", extra={"values": {"lack": "movements", "to_do": what}})
        else:
            _log.info("views are of an earlier format", extra={"values": {"lack": "movements"}})
            await self.start()

    async def _fill(self) -> None:
        """Ends with the rebuild. Raises NewerVersionNeeded, StoreUnavailable, ViewsUnavailable."""
        views = await self._rebuilds.next_views()
        if views is None:
            return
        values: dict[str, object] = {"position": views.place.position, "of": self.serving.position}
        _log.info("rebuild of the views begins", extra={"values": values})
        if await holds(self._store, views.place):
            projector = Projector(
                self._log,
                views,
                Checker(self._store, self._quarantine, thorough=True),
                self._quarantine,
                BATCH_EVENTS_MAX,
                self._give_way,
                "rebuild of the views",
                decides=False,
            )
            self._said_at = self._now()
            try:
                await projector.run(partial(self._has_ended, projector))
            finally:
                self._said_at = None
            failure = projector.failure
        else:
            failure = f"the log does not hold the position {views.place.position} that the new views have reached"
        if failure is not None:
            _log.error("rebuild of the views has failed", extra={"values": {"reason": failure}})
            await self._rebuilds.give_up(self._clock(), failure)

    async def _has_ended(self, projector: Projector) -> bool:
        """Also if another instance has ended it."""
        if projector.caught_up and await self._rebuilds.switch(self._clock(), projector.advance):
            _log.info("rebuilt views serve", extra={"values": {"position": self.serving.position}})
            return True
        record = self._rebuilds.record
        return record is None or not record.running

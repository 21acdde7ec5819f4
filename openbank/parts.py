"""The health of this process: which of its parts work."""

from __future__ import annotations

import asyncio

from openbank.eventstore.port import EventStore
from openbank.following.tail import LogTail
from openbank.integrity.quarantine import Quarantine
from openbank.rpc.calls import Calls
from openbank.rpc.health import COMMANDS, EVERYTHING, FEEDS, QUARANTINE, QUERIES, VERSION, Health
from openbank.rpc.services import NAMES
from openbank.views.port import Views
from openbank.views.progress import Progress
from openbank.views.projector import Projector

HEALTH_SECONDS = 0.1
"""How often health looks at what it reports."""


class Parts:
    """Reports which parts of this process work to its health service."""

    def __init__(
        self,
        health: Health,
        calls: Calls,
        store: EventStore,
        quarantine: Quarantine,
        tail: LogTail,
        views: Views,
        progress: Progress,
        projector: Projector,
        projecting: asyncio.Task[None],
        feeding: asyncio.Task[None],
    ) -> None:
        self._health = health
        self._calls = calls
        self._store = store
        self._quarantine = quarantine
        self._tail = tail
        self._views = views
        self._progress = progress
        self._projector = projector
        self._projecting = projecting
        self._feeding = feeding

    async def report(self) -> None:
        while True:
            # The tail is the first to notice that the event store is away. A store that answers may still not write.
            commands = self._tail.available and self._store.writable
            queries = self._projects()
            feeds = self._tail.available and not self._feeding.done()
            if self._tail.replaced is not None:
                # The views are those of a log that does not exist any more.
                self._calls.refuse_for(self._tail.replaced)
                commands = queries = feeds = False
            self._health.set(COMMANDS, commands)
            self._health.set(QUERIES, queries)
            self._health.set(FEEDS, feeds)
            self._health.set(QUARANTINE, not self._quarantine.aside)
            self._health.set(VERSION, not self._quarantine.newer)
            # A proxy drops an instance that is NOT_SERVING whole: only where neither half works.
            for whole in (EVERYTHING, *NAMES):
                self._health.set(whole, commands or queries)
            await asyncio.sleep(HEALTH_SECONDS)

    def _projects(self) -> bool:
        """Whether the views can be read, have caught up with the log as it was at the start, and are kept current.

        While the event store is away there is nothing to project, and reads continue.
        """
        stands = self._projecting.done() or self._projector.failure is not None
        projects = not (stands or self._projector.needs_newer_version)
        return self._progress.caught_up and self._views.available and projects

"""A lease: of several instances on the same views, one at a time does the work that one instance is enough for.

Projecting is such work, and sending to a sink. The holder keeps counting up. An instance that sees the count stand
still for long enough, by its own monotonic clock, takes the lease over. This is not a lock: a holder that was only slow
may continue beside its successor for a moment. Doing the work twice does no harm; the lease only saves work.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from openbank.eventstore.errors import NewerVersionNeeded

STANDSTILL_SECONDS = 8.0
"""After this time without a renewal another instance may take the lease."""
BEAT_SECONDS = 0.5
"""The time between two renewals, or between two looks at another instance's lease."""
NEWER_SECONDS = 10.0
"""How long an instance that is too old for the next event leaves the work to others before it tries again."""

_log = logging.getLogger(__name__)


class Term(NamedTuple):
    """The record of a lease. An empty holder means that it is free."""

    holder: str
    beats: int


FREE = Term("", 0)
"""A lease that was never held."""


class LeaseUnavailable(Exception):
    """The record cannot be reached; the change may have been made or not."""


class LeaseRecord(Protocol):
    """The lease record that all instances share. Each method is atomic, and may raise LeaseUnavailable."""

    async def read(self) -> Term: ...

    async def take(self, holder: str, seen: Term) -> bool:
        """Makes `holder` the holder, if the record is still as it was seen."""
        ...

    async def renew(self, holder: str) -> bool:
        """Counts up, if `holder` is the holder."""
        ...

    async def release(self, holder: str) -> None:
        """Frees it, if `holder` is the holder."""
        ...


class Lease:
    """This instance's side of a lease."""

    def __init__(self, record: LeaseRecord, clock: Callable[[], float] = time.monotonic) -> None:
        self.held = False
        """Whether this instance holds the lease, as far as it knows."""
        self.changes = 0
        """How often this instance has taken or lost it."""
        self._record = record
        self._clock = clock
        self._me = secrets.token_hex(8)
        self._seen: Term | None = None
        self._since = 0.0

    async def beat(self) -> None:
        """Renews the lease, or takes it if it is free or stands still. Raises LeaseUnavailable."""
        try:
            self._note(await self._record.renew(self._me) if self.held else await self._take())
        except LeaseUnavailable:
            # No instance could renew it meanwhile, so an unchanged count means nothing.
            self._seen = None
            raise

    async def release(self) -> None:
        """Frees the lease. If the record cannot be reached, the next instance has to wait."""
        self._note(False)
        with suppress(LeaseUnavailable):
            await self._record.release(self._me)

    def _note(self, held: bool) -> None:
        self.changes += held != self.held
        self.held = held

    async def _take(self) -> bool:
        now = self._clock()
        term = await self._record.read()
        if term != self._seen:
            self._seen, self._since = term, self._clock()
        free = term.holder in (FREE.holder, self._me)
        if free or now - self._since >= STANDSTILL_SECONDS:
            return await self._record.take(self._me, term)
        return False


async def alone(work: Callable[[], Awaitable[None]]) -> None:
    """Work of a single instance. After NewerVersionNeeded it waits for a newer version to replace this process."""
    while True:
        try:
            await work()
            return
        except NewerVersionNeeded:
            await asyncio.sleep(NEWER_SECONDS)


class Leased:
    """Work that only the holder of a lease does. `doing` names the work in log lines: "projects"."""

    def __init__(self, lease: Lease, work: Callable[[], Awaitable[None]], doing: str = "projects") -> None:
        self._lease = lease
        self._work = work
        self._doing = doing

    @property
    def held(self) -> bool:
        return self._lease.held

    async def run(self) -> None:
        """Runs until cancelled, or until the work ends by itself: then another instance may try.

        Work that raises NewerVersionNeeded is left to other instances for NEWER_SECONDS.
        """
        try:
            while True:
                await self._beat()
                if not self._lease.held:
                    await asyncio.sleep(BEAT_SECONDS)
                elif await self._ends_while_held():
                    return
        finally:
            await self._lease.release()

    async def _ends_while_held(self) -> bool:
        """Whether the work has ended; if not, the lease was lost, and the work was cancelled."""
        _log.info("lease taken: this instance %s", self._doing)
        work = asyncio.ensure_future(self._work())
        try:
            while self._lease.held:
                await asyncio.wait({work}, timeout=BEAT_SECONDS)
                if work.done():
                    return await self._has_ended(work)
                await self._beat()
        finally:
            work.cancel()
            await asyncio.wait({work})
        _log.info("lease lost: another instance %s", self._doing)
        return False

    async def _has_ended(self, work: asyncio.Future[None]) -> bool:
        try:
            await work
        except NewerVersionNeeded:
            _log.info("lease left to a newer version: this instance no longer %s", self._doing)
            await self._lease.release()
            await asyncio.sleep(NEWER_SECONDS)
            return False
        return True

    async def _beat(self) -> None:
        """While the record cannot be reached nothing changes: the work waits for the views too."""
        with suppress(LeaseUnavailable):
            await self._lease.beat()

"""Settles the transfers that nobody else does: after a crash, or where the destination could not be written.

The views have an index of what is not settled, and their checkpoint moves with it. A row is a pointer only: before
money moves, the event by which it was sent is read from the log. Settling twice does no harm, so the lease under which
one instance does this saves work and protects nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from openbank.commands.settling import NOT_NOW, sent_at, settle
from openbank.commands.write_side import WriteSide
from openbank.domain.transfers import Transfer
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import LogPosition
from openbank.pause import Backoff
from openbank.views.port import ListedTransfer, Views, ViewsUnavailable

STAND_SECONDS = 2.0
"""Before that, the sender of a transfer settles it. Measured by this process's monotonic clock."""
LOOK_SECONDS = 0.5
"""Between two looks at what is not settled."""
AT_ONCE = 32
"""Transfers that are being settled at one time."""
PAGE = 100
PAGES = 10
"""Pages in one look. The next one continues there, so that those that are stuck do not keep the others waiting."""
RETRY_SECONDS = 2.0
"""After a store was away."""
REFUSED_SECONDS_MIN = 1.0
REFUSED_SECONDS_MAX = 60.0
"""After a refusal, such as a return for which the source has no room: a stuck transfer costs ever less."""
WARN_SECONDS = 60.0
"""How long a transfer stands before the log has a warning, and the time between two."""

_log = logging.getLogger(__name__)


class _Standing:
    """A transfer that is not settled as far as the views say."""

    def __init__(self, transfer: Transfer, now: float, due: float) -> None:
        self.transfer = transfer
        self.since = now
        self.due = due
        self.backoff = Backoff(REFUSED_SECONDS_MIN, REFUSED_SECONDS_MAX)
        self.trouble: Exception | None = None
        self.seen = True
        """In this pass through the list, or in the last one."""


class Courier:
    """About 500 bytes of memory for each transfer that is not settled."""

    def __init__(
        self,
        bank: WriteSide,
        views: Views,
        head: Callable[[], Awaitable[LogPosition]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`head` asks the store for the end of the log."""
        self._bank = bank
        self._views = views
        self._head = head
        self._clock = clock
        self._before = 0
        """What was sent up to this position, before it began, is nobody's any more and settled at once."""
        self._standing: dict[str, _Standing] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._after = 0
        """Where the next page begins."""
        self._warned = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._begin()
            while True:
                try:
                    waiting = await self.look()
                except ViewsUnavailable:
                    waiting = False
                except Exception:
                    # Money stands still until somebody looks again.
                    _log.exception("courier failed")
                    waiting = False
                if waiting and self._running:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._running:
                task.cancel()

    async def _begin(self) -> None:
        """Waits until the views say what has become of all that was sent before."""
        while True:
            try:
                self._before = (await self._head()).position
                await self._views.wait_for(self._before)
            except (StoreUnavailable, ViewsUnavailable):
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return

    async def look(self) -> bool:
        """Reads on in the list, and begins to settle what is due. True where more is due than is done at once.

        Raises ViewsUnavailable.
        """
        for _ in range(PAGES):
            page = await self._views.unsettled_transfers(self._after, PAGE)
            for listed in page:
                self._note(listed)
            if len(page) < PAGE:
                self._end_pass()
                break
            self._after = page[-1].position
            await asyncio.sleep(0)
        self._warn()
        return self._start()

    def _note(self, listed: ListedTransfer) -> None:
        known = self._standing.get(listed.transfer.transfer_id)
        if known:
            known.seen = True
            return
        now = self._clock()
        due = now if listed.position <= self._before else now + STAND_SECONDS
        self._standing[listed.transfer.transfer_id] = _Standing(listed.transfer, now, due)

    def _end_pass(self) -> None:
        self._after = 0
        self._standing = {id: standing for id, standing in self._standing.items() if standing.seen}
        for standing in self._standing.values():
            standing.seen = False

    def _start(self) -> bool:
        now = self._clock()
        for standing in self._standing.values():
            if standing.due <= now:
                if len(self._running) >= AT_ONCE:
                    return True
                standing.due = float("inf")
                task = asyncio.create_task(self._settle(standing))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        return False

    async def _settle(self, standing: _Standing) -> None:
        transfer = standing.transfer
        try:
            sent = await sent_at(self._bank, transfer.source_account_id, transfer.sent_revision, transfer.transfer_id)
            settled = await settle(self._bank, sent)
            standing.trouble = settled.trouble
            if not settled.trouble:
                values = {"transfer_id": transfer.transfer_id, "state": settled.state.name}
                _log.info("courier settled a transfer", extra={"values": values})
        except NOT_NOW as error:
            standing.trouble = error
        except Exception as error:
            _log.exception("courier failed", extra={"values": {"transfer_id": transfer.transfer_id}})
            standing.trouble = error
        is_away = isinstance(standing.trouble, StoreUnavailable) or standing.trouble is None
        standing.due = self._clock() + (RETRY_SECONDS if is_away else standing.backoff.next())

    def _warn(self) -> None:
        now = self._clock()
        oldest = next(iter(self._standing.values()), None)
        if not oldest or now - oldest.since < WARN_SECONDS or now - self._warned < WARN_SECONDS:
            return
        self._warned = now
        age = max(0, self._bank.clock() - oldest.transfer.create_time) // 1_000_000
        values = {
            "not_settled": len(self._standing),
            "oldest": oldest.transfer.transfer_id,
            "oldest_seconds": age,
            "reason": oldest.trouble,
        }
        _log.warning("transfers stand", extra={"values": values})

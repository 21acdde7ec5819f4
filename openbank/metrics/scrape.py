"""The parts that metrics are read from, and what has to be looked up in stores for one scrape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from openbank.access.gate import Gate
from openbank.access.policy import Policy
from openbank.commands.write_side import WriteSide
from openbank.domain.clock import Clock
from openbank.eventstore.errors import StoreDamaged, StoreUnavailable
from openbank.eventstore.port import EventStore
from openbank.eventstore.statistics import CommitStatistics
from openbank.feeds.feed import Feed
from openbank.following.behind import Behind, behind
from openbank.following.lease import Lease
from openbank.following.tail import LogTail
from openbank.instruments import Histogram
from openbank.integrity.quarantine import Quarantine
from openbank.reloading import Reloaded
from openbank.rpc.calls import Calls
from openbank.rpc.health import Health
from openbank.sinks.desk import Desk, Sink
from openbank.sinks.port import RecordsUnavailable
from openbank.sinks.sender import Sender
from openbank.tls import ServerTls
from openbank.views.port import BEFORE_DUE, ListedTransfer, Views, ViewsUnavailable
from openbank.views.progress import Progress
from openbank.views.rebuild import RebuildDesk

LOOK_SECONDS_MAX = 2.0
"""How long a scrape waits for a store. Without an answer by then, the metrics that need it are left out."""
COUNTED_MAX = 1_000
"""The most transfers and holds that are counted."""

Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Sources(NamedTuple):
    calls: Calls
    health: Health
    store: EventStore
    commits: CommitStatistics
    tail: LogTail
    quarantine: Quarantine
    write_side: WriteSide
    views: Views
    progress: Progress
    rebuild: RebuildDesk
    view_waits: Histogram
    feed: Feed
    desk: Desk
    senders: Mapping[str, Sender]
    """By the name of the sink."""
    leases: Mapping[str, Lease]
    gate: Gate | None
    tls: Reloaded[ServerTls] | None
    access: Reloaded[Policy] | None

    @property
    def clock(self) -> Clock:
        return self.write_side.clock


class Scrape(NamedTuple):
    """What one scrape reads: the parts as they are, and what had to be looked up, None where a store did not answer."""

    bank: Sources
    views_behind: Behind | None
    watches_behind: Behind | None
    """The watch that is furthest behind."""
    sinks: Sequence[Sink] | None
    in_transit: Sequence[ListedTransfer] | None
    """Up to COUNTED_MAX, oldest first."""
    holds_due: int | None
    """Up to COUNTED_MAX."""
    loop_lag: Histogram
    now: int
    """Microseconds since 1970 UTC."""

    def seconds_since(self, time: int | None) -> float:
        """0 for no time, and for one that is not over yet."""
        return 0.0 if time is None else max(0, self.now - time) / 1_000_000


async def scrape(bank: Sources, loop_lag: Histogram) -> Scrape:
    now = bank.clock()
    views_behind, watches_behind, sinks, in_transit, due = await asyncio.gather(
        _look(behind(bank.tail, bank.store, bank.views.place)),
        _look(behind(bank.tail, bank.store, bank.feed.furthest_behind or bank.tail.head)),
        _look(bank.desk.sinks()),
        _look(bank.views.unsettled_transfers(0, COUNTED_MAX)),
        _look(bank.views.due_holds(now, BEFORE_DUE, COUNTED_MAX)),
    )
    holds_due = None if due is None else len(due)
    # The clock again: an event may have been recorded while the stores were asked.
    return Scrape(bank, views_behind, watches_behind, sinks, in_transit, holds_due, loop_lag, bank.clock())


async def _look(looking: Awaitable[Value]) -> Value | None:
    try:
        async with asyncio.timeout(LOOK_SECONDS_MAX):
            return await looking
    except (TimeoutError, StoreUnavailable, StoreDamaged, ViewsUnavailable, RecordsUnavailable) as error:
        _log.debug("metrics are incomplete", extra={"values": {"reason": error}})
    except Exception:
        _log.exception("metrics are incomplete")
    return None

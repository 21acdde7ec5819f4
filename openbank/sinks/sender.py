"""One sink's sender: follows the log from the sink's place, a page at a time.

The place moves once all of a page is accepted or parked, so that after a kill the page is sent again. Every change of
the record is made to the version that was read: of two senders, or a sender and an operator, one reads the record again
and repeats the page. So there can be duplicates, but nothing is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import NoReturn

from openbank.domain.clock import Clock
from openbank.eventstore.errors import NewerVersionNeeded, StoreUnavailable
from openbank.eventstore.port import BEGINNING, EventStore, LogSlice
from openbank.following.lease import NEWER_SECONDS
from openbank.following.log import Log
from openbank.integrity.quarantine import Quarantine
from openbank.pause import Backoff
from openbank.sinks.address import LIVE, SinkAddress
from openbank.sinks.delivery import Delivery, Outgoing
from openbank.sinks.overdue import Overdue, is_to_blame
from openbank.sinks.page import QUARANTINED, UNREADABLE, SinkPage, first_of_others, next_page
from openbank.sinks.place import LOOKS_FOR_PLACE, check_bank, in_this_log, is_in_this_log, new_record
from openbank.sinks.port import NEW, Parked, RecordsUnavailable, SinkRecord, SinkRecords, StoredRecord, Trouble
from openbank.sinks.remembered import RememberedRecords
from openbank.sinks.transport import Counted, Later, SendResult, Transport

PAGE_EVENTS_MAX = 200
PARKED_MAX = 1_000
"""The most parked aggregates with which a sink continues. A sink that refuses more is broken."""
POLL_SECONDS = 0.5
"""How soon an operator's command is seen while nothing is appended."""
RETRY_SECONDS_MIN = 0.2
OTHERS_MAX = 3
"""The most waiting events of other aggregates that are tried when one is overdue."""
OTHER_PAGES_MAX = 50
"""How far behind the page to look for an event to try, if there is no other."""
LAG_SECONDS = 60.0
"""The time between two log lines about a sink that is behind."""

_log = logging.getLogger(__name__)


class Sender:
    def __init__(
        self,
        address: SinkAddress,
        log: Log,
        store: EventStore,
        quarantine: Quarantine,
        records: SinkRecords,
        transport: Transport,
        clock: Clock,
        retry_seconds_max: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = address
        self._name = address.name
        self._log = log
        self._store = store
        self._quarantine = quarantine
        self._records = RememberedRecords(records)
        self._transport = Counted(transport)
        self._clock = clock
        self._backoff = Backoff(RETRY_SECONDS_MIN, retry_seconds_max)
        self._overdue = Overdue(address.park_after_seconds, monotonic)
        self._sleep = sleep
        self._told_trouble = ""
        self._told_lag_at = float("-inf")

    @property
    def outcomes(self) -> Counter[type[SendResult]]:
        """How many messages this instance has sent, by the sink's answer."""
        return self._transport.outcomes

    async def prepare(self) -> None:
        """Gives a new sink the place in the log that its address asks for, and checks an existing place.

        Few reads, however long the log is: `run` looks for a place that is not in this log. Raises StoreRefused for a
        record of another bank; RecordsUnavailable, StoreUnavailable.
        """
        while (stored := await self._records.load(self._name)) is None:
            begin = await self._store.head() if self._address.start == LIVE else BEGINNING
            if await self._records.save(self._name, new_record(self._store, begin, self._clock()), NEW) is not None:
                return
        check_bank(self._store, self._name, stored.record)
        if not await is_in_this_log(self._store, stored.record):
            trouble = Trouble(LOOKS_FOR_PLACE, self._clock())
            await self._records.save(self._name, stored.record._replace(trouble=trouble), stored.version)

    async def run(self) -> None:
        """Sends until cancelled. Raises NewerVersionNeeded, since another instance may be newer."""
        while True:
            try:
                await self._begin()
                await self._follow()
            except NewerVersionNeeded as error:
                with suppress(RecordsUnavailable):
                    stored = await self._load()
                    await self._note(stored, stored.record, Later(str(error)), NEWER_SECONDS)
                raise
            except (RecordsUnavailable, StoreUnavailable) as error:
                seconds = self._backoff.next()
                self._tell_trouble(str(error), seconds)
                await self._sleep(seconds)
            except Exception as error:
                await self._fail(f"the sender has failed: {type(error).__name__}")

    async def _fail(self, reason: str) -> None:
        """Handles a bug, perhaps with one event only: the sink shows that it waits, and one log line says where."""
        if reason != self._told_trouble:
            _log.exception("sink has failed", extra={"values": {"sink": self._name}})
        seconds = self._backoff.next()
        with suppress(RecordsUnavailable):
            stored = await self._load()
            await self._note(stored, stored.record, Later(reason), seconds)
        await self._sleep(seconds)

    async def _begin(self) -> None:
        """Sets the place in this log, and retries what another version could not read."""
        await self.prepare()
        stored = await self._load()
        here = await in_this_log(self._store, self._name, stored.record)
        again = {
            stream: held._replace(retrying=True) if held.reason.startswith(UNREADABLE) else held
            for stream, held in here.parked.items()
        }
        wanted = here._replace(parked=again)
        if wanted != stored.record and await self._save(stored, wanted) is None:
            raise RecordsUnavailable(f"the record of the sink {self._name} is being changed")

    async def _follow(self) -> NoReturn:
        stored: StoredRecord | None = None
        while True:
            stored = await self._advance(stored or await self._load())

    async def _advance(self, stored: StoredRecord) -> StoredRecord | None:
        """Sends one page. Returns the new record; None if it has to be read again."""
        record = stored.record
        if released := self._released(record):
            return await self._save(stored, record._replace(parked={**record.parked, **released}))
        page = await self._read(record)
        if page is None:
            await self._halt(stored)
            return None
        if page.outgoing or page.again or page.through != record.place or record.trouble is not None:
            return await self._deliver(stored, page)
        self._backoff.reset()
        self._tell_trouble("", 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._log.wait(record.place.position)
        return None

    def _released(self, record: SinkRecord) -> dict[str, Parked]:
        """Retries aggregates that were parked because of a quarantine and are released now."""
        return {
            stream: held._replace(retrying=True)
            for stream, held in record.parked.items()
            if held.reason.startswith(QUARANTINED) and not held.retrying and not self._quarantine.of(stream)
        }

    async def _read(self, record: SinkRecord) -> SinkPage | None:
        """The next page; None if so much is parked that the sink does not continue."""
        read = LogSlice([], record.place)
        if len(record.parked) < PARKED_MAX:
            read = await self._log.read(record.place, PAGE_EVENTS_MAX)
        elif not any(held.retrying for held in record.parked.values()):
            return None
        return await next_page(self._store, read, record.parked, self._clock(), self._quarantine)

    async def _halt(self, stored: StoredRecord) -> None:
        reason = f"{len(stored.record.parked)} aggregates are parked: retry or skip some"
        await self._note(stored, stored.record, Later(reason), POLL_SECONDS)
        await self._sleep(POLL_SECONDS)

    async def _deliver(self, stored: StoredRecord, page: SinkPage) -> StoredRecord | None:
        base = stored.record
        delivery = Delivery(page.outgoing, self._transport, self._clock)
        while (later := await delivery.round()) is not None:
            self._tell_lag(base, page)
            if await self._park_overdue(base, page, delivery, later):
                continue
            if delivery.moved:
                self._backoff.reset()
            seconds = self._backoff.next(later.after_seconds)
            meanwhile = base._replace(parked=page.parked_meanwhile(base.parked, delivery))
            noted = await self._note(stored, meanwhile, later, seconds, delivery)
            if noted is None:
                return None
            stored = noted
            await self._sleep(seconds)
            if (await self._load()).version != stored.version:
                # An operator's command has come meanwhile, or another instance sends: this page is out of date.
                return None
        self._overdue.after_round(delivery, None)
        self._backoff.reset()
        self._tell_lag(base, page)
        parked = page.parked_afterwards(base.parked, delivery)
        self._tell_trouble("", 0)
        reached = base.position_time if page.through == base.place else self._clock()
        done = SinkRecord(base.bank_id, base.store_id, page.through, reached, parked)
        return await self._save(stored, done)

    async def _park_overdue(self, base: SinkRecord, page: SinkPage, delivery: Delivery, later: Later) -> bool:
        """Whether an event that the sink has failed on for too long is parked now."""
        overdue = self._overdue.after_round(delivery, later)
        if overdue is None:
            return False
        reason = self._overdue.reason(delivery, overdue)
        if not await is_to_blame(delivery, overdue, await self._others(base, page, delivery, overdue.stream)):
            return False
        delivery.park(overdue, reason)
        return True

    async def _others(self, base: SinkRecord, page: SinkPage, delivery: Delivery, stream: str) -> Sequence[Outgoing]:
        """Events of other aggregates to try: the next ones on this page; the last one that the sink accepted, again;
        or, if it has accepted none, the next one behind this page, early."""
        held = {stream, *self._overdue.streams, *base.parked, *page.unreadable, *delivery.refused}
        waiting: dict[str, Outgoing] = {}
        for outgoing in delivery.waiting():
            if outgoing.stream not in held:
                waiting.setdefault(outgoing.stream, outgoing)
        another = self._overdue.accepted(stream) or await self._behind(page, {*held, *waiting})
        return [*islice(waiting.values(), OTHERS_MAX), *([another] if another else [])]

    async def _behind(self, page: SinkPage, held: Container[str]) -> Outgoing | None:
        after = page.through
        for _ in range(OTHER_PAGES_MAX):
            try:
                read = await self._log.read(after, PAGE_EVENTS_MAX)
            except NewerVersionNeeded:
                return None
            other = first_of_others(read.events, held, self._clock())
            if other is not None or read.caught_up or read.through == after:
                return other
            after = read.through
        return None

    async def _note(
        self, stored: StoredRecord, record: SinkRecord, later: Later, seconds: float, delivery: Delivery | None = None
    ) -> StoredRecord | None:
        """Records why nothing can be sent, and what was parked nevertheless."""
        known = stored.record.trouble
        failing = delivery.failing if delivery else {}
        # Stays with the same event while it fails.
        stream = known.aggregate if known and known.aggregate in failing else next(iter(failing), "")
        where = (stream, failing[stream][0].revision if stream else 0)
        trouble = Trouble(later.reason, known.since if known else self._clock(), *where)
        self._tell_trouble(later.reason, seconds, *where)
        record = record._replace(trouble=trouble)
        return stored if record == stored.record else await self._save(stored, record)

    async def _save(self, stored: StoredRecord, record: SinkRecord) -> StoredRecord | None:
        version = await self._records.save(self._name, record, stored.version)
        if version is None:
            return None
        for stream, held in record.parked.items():
            if not held.retrying and held != stored.record.parked.get(stream):
                values = {"sink": self._name, "aggregate": stream, "revision": held.revision, "reason": held.reason}
                _log.warning("sink refuses an event: its aggregate is parked", extra={"values": values})
        return StoredRecord(record, version)

    async def _load(self) -> StoredRecord:
        stored = await self._records.load(self._name)
        if stored is None:
            raise RecordsUnavailable(f"the record of the sink {self._name} is gone")
        return stored

    def _tell_trouble(self, reason: str, retry_seconds: float, aggregate: str = "", revision: int = 0) -> None:
        """Logs when trouble begins, changes or ends, not each attempt."""
        if reason and reason != self._told_trouble:
            values: dict[str, object] = {"sink": self._name, "reason": reason, "retry_seconds": round(retry_seconds, 1)}
            if aggregate:
                values |= {"aggregate": aggregate, "revision": revision}
            _log.warning("sink waits", extra={"values": values})
        elif self._told_trouble and not reason:
            _log.info("sink continues", extra={"values": {"sink": self._name}})
        self._told_trouble = reason

    def _tell_lag(self, record: SinkRecord, page: SinkPage) -> None:
        """Logs now and then that a sink is behind."""
        now = asyncio.get_running_loop().time()
        if not page.outgoing or now - self._told_lag_at < LAG_SECONDS:
            return
        lag_seconds = (self._clock() - page.outgoing[0].event.time) / 1_000_000
        if lag_seconds >= LAG_SECONDS:
            self._told_lag_at = now
            values = {"sink": self._name, "lag_seconds": round(lag_seconds), "parked": len(record.parked)}
            _log.warning("sink is behind", extra={"values": values})

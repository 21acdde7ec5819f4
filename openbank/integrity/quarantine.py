"""Aggregates that are set aside: from one event on, their streams are not believed.

An event that does not follow from those before it (`trail`) stops its own aggregate and nothing else. The record is in
the event store: every instance needs it, backups include it, and it survives restarts and rebuilds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from openbank.domain.clock import Clock
from openbank.domain.errors import Refused, RevisionMismatch
from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.eventstore.port import EventStore, KeptRecord, LogPosition
from openbank.eventstore.quarantine_record import (
    QuarantineRecord,
    Released,
    SetAside,
    decode_record,
    encode_record,
    more_is_believed,
    with_released,
)
from openbank.integrity.newer import NewerEvents
from openbank.integrity.trail import UNKNOWN_TYPE

AGGREGATES_MAX = 1_000
"""With more, the log as a whole counts as broken, and the bank stops serving."""
SKIPPED_MAX = 1_000
"""The most skipped events of one aggregate."""
POLL_SECONDS = 1.0
"""How soon an instance sees what another instance has set aside or released."""
TRIES_MAX = 20
"""The most attempts, when another instance changes the record each time."""

_log = logging.getLogger(__name__)


class AggregateQuarantined(Refused):
    """Commands on the aggregate and reads of it are refused until an operator decides."""

    reason = "AGGREGATE_QUARANTINED"

    def __init__(self, aggregate: str, aside: SetAside) -> None:
        super().__init__(
            f"{aggregate} is quarantined: its event at revision {aside.revision} is not believed: {aside.reason}",
            aggregate=aggregate,
            revision=str(aside.revision),
            position=str(aside.position),
            quarantineReason=aside.reason,
        )


class TooManyQuarantined(StoreDamaged):
    """The log as a whole is not what a bank wrote, so nothing is served from it."""


class AggregateNotQuarantined(Refused):
    reason = "AGGREGATE_NOT_QUARANTINED"

    def __init__(self, aggregate: str) -> None:
        super().__init__(f"{aggregate} is not quarantined", aggregate=aggregate)


class Quarantine:
    """What is set aside, as this process knows it, and all changes to it.

    Up to the position `checked` of the log, every event has been checked, and what does not follow is set aside.
    """

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._record = QuarantineRecord()
        self._version: int | None = None
        """None before it has been loaded."""
        self._changing = asyncio.Lock()
        self.too_many: str | None = None
        """Why the log as a whole is not believed any more. Stays until a restart."""
        self.newer = NewerEvents()
        self.checked = 0
        self.releases = 0
        """Counts releases of events that were not believed before. Pages that were read before the last one are
        stale."""

    @property
    def released(self) -> Mapping[str, Released]:
        return self._record.released

    @property
    def aside(self) -> Mapping[str, SetAside]:
        return self._record.aside

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set aside or skipped."""
        return not (self._record.aside or self._record.skipped)

    def of(self, stream: str, revision: int | None = None) -> SetAside | None:
        """Whether the aggregate is set aside; with a revision, whether that event of it is."""
        aside = self._record.aside.get(stream)
        return aside if aside and (revision is None or revision >= aside.revision) else None

    def is_skipped(self, stream: str, revision: int) -> bool:
        return bool(self._record.skipped) and revision in self.skipped(stream)

    def skipped(self, stream: str) -> frozenset[int]:
        """The revisions of the aggregate's events that were declared not to be the bank's."""
        return self._record.skipped.get(stream, frozenset())

    def check(self, stream: str) -> None:
        """Passes if the aggregate is believed. Raises AggregateQuarantined, NewerVersionNeeded."""
        self.newer.check(stream)
        aside = self._record.aside.get(stream)
        if aside is not None:
            raise AggregateQuarantined(stream, aside)

    async def load(self, checked: int = 0) -> None:
        """Loads the record. `checked` is a position that was known before this call. Raises StoreUnavailable,
        StoreDamaged."""
        await self._reload()
        self.checked = max(self.checked, checked)

    async def follow(self, checked: Callable[[], int]) -> None:
        """Follows the changes of other instances until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            # The tail reports that the store is away.
            with suppress(StoreUnavailable):
                await self.load(checked())

    async def set_aside(self, at: LogPosition, reason: str) -> SetAside:
        """Sets the aggregate aside from the event at this place on, durably.

        Raises StoreUnavailable, TooManyQuarantined.
        """
        stream = at.stream
        aside = SetAside(at.revision, at.position, reason, self._clock())

        def change(record: QuarantineRecord) -> QuarantineRecord:
            known = record.aside.get(stream)
            if known and known.revision <= aside.revision and not known.retrying:
                return record
            if not known and len(record.aside) >= AGGREGATES_MAX:
                self._refuse_more(aside, stream)
            if known and known.revision < aside.revision:
                record = with_released(record, stream, aside.position)
            elif known and (known.revision, known.reason) == (aside.revision, aside.reason):
                return record._replace(aside={**record.aside, stream: known._replace(retrying=False)})
            return record._replace(aside={**record.aside, stream: aside})

        before = self._record.aside.get(stream)
        now = (await self._update(change)).aside[stream]
        if now != before:
            values = {"aggregate": stream, "revision": now.revision, "position": now.position, "reason": now.reason}
            _log.error("aggregate quarantined", extra={"values": values})
        return now

    def _refuse_more(self, aside: SetAside, stream: str) -> NoReturn:
        refusal = (
            f"{AGGREGATES_MAX:,} aggregates are quarantined, and {stream} would be one more ({aside.reason}):"
            " this log is not what a bank wrote; find the cause with openbank quarantine list and openbank verify"
        )
        if self.too_many is None:
            _log.error("too many aggregates are quarantined", extra={"values": {"reason": refusal}})
        self.too_many = refusal
        raise TooManyQuarantined(refusal)

    async def release(self, stream: str, position: int) -> None:
        """Releases the aggregate, whose events all follow up to this position of the log. Raises StoreUnavailable."""

        def change(record: QuarantineRecord) -> QuarantineRecord:
            aside = {name: aside for name, aside in record.aside.items() if name != stream}
            return with_released(record, stream, position)._replace(aside=aside)

        await self._update(change)
        _log.warning("aggregate released from quarantine", extra={"values": {"aggregate": stream}})

    async def retry(self, stream: str) -> SetAside:
        """Has the stream checked again from the first event that is not believed.

        Raises AggregateNotQuarantined, StoreUnavailable.
        """
        return await self._change(stream, lambda aside: aside._replace(retrying=True))

    async def retry_all(self) -> int:
        """The same for everything that is set aside. Returns how many aggregates these are."""

        def change(record: QuarantineRecord) -> QuarantineRecord:
            again = {stream: aside._replace(retrying=True) for stream, aside in record.aside.items()}
            return record._replace(aside=again)

        return len((await self._update(change)).aside)

    async def retry_unknown(self) -> None:
        """The same for events whose type an older version did not know. Raises StoreUnavailable."""

        def change(record: QuarantineRecord) -> QuarantineRecord:
            again = {
                stream: aside._replace(retrying=aside.retrying or aside.reason == UNKNOWN_TYPE)
                for stream, aside in record.aside.items()
            }
            return record._replace(aside=again)

        await self._update(change)

    async def skip(self, stream: str, expected_revision: int | None) -> SetAside:
        """Declares that the first event that is not believed is not the bank's, and has the rest checked again.

        Raises AggregateNotQuarantined, RevisionMismatch if that event is another one; StoreUnavailable.
        """

        def change(record: QuarantineRecord) -> QuarantineRecord:
            aside = _of(record, stream)
            if expected_revision not in (None, aside.revision):
                raise RevisionMismatch("aggregate", stream, expected_revision, aside.revision)
            skipped = record.skipped.get(stream, frozenset()) | {aside.revision}
            if len(skipped) > SKIPPED_MAX:
                raise StoreDamaged(f"{SKIPPED_MAX} events of {stream} are skipped already")
            return record._replace(
                aside={**record.aside, stream: aside._replace(retrying=True)},
                skipped={**record.skipped, stream: skipped},
            )

        return (await self._update(change)).aside[stream]

    async def _change(self, stream: str, change: Callable[[SetAside], SetAside]) -> SetAside:
        def changed(record: QuarantineRecord) -> QuarantineRecord:
            return record._replace(aside={**record.aside, stream: change(_of(record, stream))})

        return (await self._update(changed)).aside[stream]

    async def _update(self, change: Callable[[QuarantineRecord], QuarantineRecord]) -> QuarantineRecord:
        if change(self._record) == self._record:
            return self._record
        # One at a time, so that changes of one process do not compete with each other.
        async with self._changing:
            return await self._change_record(change)

    async def _change_record(self, change: Callable[[QuarantineRecord], QuarantineRecord]) -> QuarantineRecord:
        for _ in range(TRIES_MAX):
            record, version = self._record, self._version
            wanted = change(record)
            if wanted == record:
                return record
            saved = None
            with suppress(OutcomeUnknown):
                saved = await self._store.save_quarantine(encode_record(wanted), version or 0)
            if saved is not None:
                self._take(KeptRecord(encode_record(wanted), saved))
                return wanted
            await self._reload()
        raise StoreUnavailable("the quarantine could not be changed: others are changing it all the time")

    async def _reload(self) -> None:
        """Replaces an unreadable record by the last one that this process has read."""
        kept = await self._store.quarantine()
        try:
            self._take(kept)
        except StoreDamaged as error:
            if self._version is None:
                raise
            _log.error("quarantine record is damaged, and is replaced", extra={"values": {"reason": error}})
            self._version = kept.version
            with suppress(OutcomeUnknown):
                # If another instance was faster, the next reload finds its record.
                await self._store.save_quarantine(encode_record(self._record), kept.version)

    def _take(self, kept: KeptRecord) -> None:
        if self._version is not None and kept.version <= self._version:
            return
        record = decode_record(kept.data)
        self.releases += more_is_believed(self._record, record)
        self._record, self._version = record, kept.version


def _of(record: QuarantineRecord, stream: str) -> SetAside:
    if stream not in record.aside:
        raise AggregateNotQuarantined(stream)
    return record.aside[stream]

"""Checks that the stored log is whole and is what a bank wrote, and that the views match it.

Reads the embedded stores' files in short transactions, EventStoreDB page by page, and changes nothing, so that a bank
may be served from them meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from openbank.config import Settings, is_embedded
from openbank.domain.money import Money
from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.eventstore.quarantine_record import QuarantineRecord
from openbank.integrity.checking import Checked
from openbank.progress import OnProgress, unseen
from openbank.upkeep.verify.audit import Audit
from openbank.upkeep.verify.log import VerifiedLog, open_log
from openbank.upkeep.verify.views import Compared, open_views
from openbank.views.batch import changes_of
from openbank.views.changes import Change
from openbank.views.port import LogId, ViewsOfAnEarlierFormat, ViewsUnavailable

FAULTS_TOLD = 50
BATCH_CHANGES = 8_000


@dataclass
class Report:
    lines: list[str] = field(default_factory=list)
    """Readable lines that say what was checked."""
    faults: list[str] = field(default_factory=list)
    """The first faults that were found."""
    fault_count: int = 0

    def fault(self, what: str) -> None:
        self.fault_count += 1
        if self.fault_count <= FAULTS_TOLD:
            self.faults.append(what)


async def verify(settings: Settings, progress: OnProgress = unseen) -> Report:
    """Checks the stores that `serve` would use.

    Raises FileNotFoundError without a log, StoreRefused for a log of another version, StoreUnavailable and
    ViewsUnavailable for a store that cannot be reached.
    """
    report = Report()
    async with AsyncExitStack() as stack:
        try:
            views = await open_views(stack, settings)
        except ViewsOfAnEarlierFormat as error:
            report.lines.append(f"views: not compared: {error}")
            views = None
        except ViewsUnavailable as error:
            if not is_embedded(settings.views):
                raise
            # Trying again does not help: the file is not the bank's, or is damaged.
            report.fault(str(error))
            views = None
        log = await open_log(stack, settings)
        await _Verification(log, views, report, await _quarantine(log, report), progress).run()
    return report


class _Verification:
    """Reads in short transactions, so that a bank that is served from the files is not held up.

    Views are rebuilt as far as those in the directory are: they may not have seen the end of the log yet.
    """

    def __init__(
        self,
        log: VerifiedLog,
        views: Compared | None,
        report: Report,
        quarantine: QuarantineRecord,
        progress: OnProgress,
    ) -> None:
        self._log = log
        # Views of another log are rebuilt at the next start.
        self._views = views if views and views.place()[0] == LogId(log.bank_id, log.store_id) else None
        self._report = report
        self._quarantine = quarantine
        self._progress = progress
        self._audit = Audit(report.fault, quarantine.skipped, gapless=log.gapless)
        self._rebuilt = BEGINNING
        self._changes: list[Change] = []
        self._damaged: set[str] = set()

    async def run(self) -> None:
        await self._read(self._place())
        if self._views:
            self._progress("comparing views", None)
            try:
                await self._compare(self._views)
            except ViewsUnavailable as error:
                self._report.fault(str(error))
        self._progress("checking indexes", None)
        self._audit.end()
        async for fault in self._audit.reversals.faults(self._log):
            self._report.fault(fault)
        async for fault in self._log.faults(self._audit.position):
            self._report.fault(fault)
        self._report.lines[:0] = _described(self._audit, self._quarantine)

    def _place(self) -> LogPosition:
        return self._views.place()[1] if self._views else BEGINNING

    async def _read(self, place: LogPosition) -> None:
        """To the end of the log; views are rebuilt up to `place`."""
        last = await self._log.last()
        async for event in self._log.events(self._rebuilt):
            if isinstance(event, str):
                self._note_damage(event)
                continue
            # What has been audited may have to be read once more, for the views.
            new = event.position > self._audit.position
            if new:
                self._progress("checking events", min(event.position / max(last, 1), 1.0))
            checked = self._audit.take(event) if new else self._audit.look_up(event)
            if event.position <= place.position:
                self._rebuild(checked)
        self._write(place)

    def _note_damage(self, damage: str) -> None:
        if damage not in self._damaged:
            self._damaged.add(damage)
            self._report.fault(damage)

    def _rebuild(self, checked: Checked) -> None:
        self._changes += changes_of(checked)
        if len(self._changes) >= BATCH_CHANGES:
            self._write(checked.event.place)

    def _write(self, through: LogPosition) -> None:
        changes, self._changes = self._changes, []
        if self._views:
            self._views.rebuild(changes, through)
        self._rebuilt = through

    async def _compare(self, views: Compared) -> None:
        different = await views.differences(self._catch_up, self._audit.revision_of)
        if different is None:
            self._report.lines.append("views: not compared, as the bank has begun to rebuild them meanwhile")
            return
        place = self._rebuilt.position
        self._report.lines.append(f"views: as of position {place:,}, compared with rebuilt views")
        end = max(self._audit.position, self._log.end)
        if place > end:
            self._report.fault(f"the log ends at position {end}, and the views are of {place}")
        for table, rows in different.items():
            if rows:
                self._report.fault(f"views: {rows:,} rows of {table} are not those of the log")

    async def _catch_up(self) -> None:
        await self._read(self._place())


async def _quarantine(log: VerifiedLog, report: Report) -> QuarantineRecord:
    try:
        return await log.quarantine()
    except StoreDamaged as error:
        report.fault(str(error))
        return QuarantineRecord()


def _described(audit: Audit, quarantine: QuarantineRecord) -> Sequence[str]:
    lines = [
        f"log: {audit.events:,} events, {audit.persons:,} persons, {audit.accounts:,} accounts;"
        f" it ends at position {audit.position:,}"
    ]
    for currency, paid_in in sorted(audit.paid_in.items()):
        paid_out, held = audit.paid_out[currency], audit.on_accounts[currency]
        shown = [str(Money(currency, minor)) for minor in (paid_in, paid_out, held)]
        in_transit = audit.in_transit[currency]
        rest = f", {Money(currency, in_transit)} in transit" if in_transit else ""
        lines.append("money: {} paid in, {} paid out, {} on accounts".format(*shown) + rest)
    for stream, aside in sorted(quarantine.aside.items()):
        lines.append(f"quarantine: {stream} from revision {aside.revision} on: {aside.reason}")
    for stream, count in audit.foreign.most_common(FAULTS_TOLD):
        lines.append(f"other programs: {count:,} events in {stream}, which mean nothing to the bank")
    if len(audit.foreign) > FAULTS_TOLD:
        lines.append(f"other programs: events in {len(audit.foreign) - FAULTS_TOLD:,} more streams")
    if audit.skipped:
        lines.append(f"quarantine: {audit.skipped:,} events were skipped by an operator, and count for nothing")
    return lines

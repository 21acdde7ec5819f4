"""Whether what is on disk is what a bank has written, all of it: the log, and the views against it.

Reads the embedded stores' files in short transactions and changes nothing, so that a bank may be served from them
meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from openbank.domain.money import Money
from openbank.eventstore.audit import Audit
from openbank.eventstore.checking import Checked
from openbank.eventstore.port import BEGINNING, LogPosition, StoreDamaged
from openbank.eventstore.quarantine import QuarantineRecord
from openbank.eventstore.sqlite import LogFile
from openbank.views.changes import Change
from openbank.views.port import LogId, ViewsUnavailable
from openbank.views.projector import changes_of
from openbank.views.sqlite import FILE, SLICE, SqliteViewsFile

FAULTS_TOLD = 50
BATCH_CHANGES = 8_000


@dataclass
class Report:
    lines: list[str] = field(default_factory=list)
    """What was looked at, for people."""
    faults: list[str] = field(default_factory=list)
    """The first of what was found."""
    fault_count: int = 0

    def fault(self, what: str) -> None:
        self.fault_count += 1
        if self.fault_count <= FAULTS_TOLD:
            self.faults.append(what)


async def verify(directory: Path) -> Report:
    """Raises FileNotFoundError where there is no log, StoreRefused for one that is none of this version's."""
    report = Report()
    with ExitStack() as stack:
        views = _views(directory, report)
        if views:
            stack.callback(views.close)
        log = stack.enter_context(closing(LogFile(directory)))
        _Verification(log, views, report).run()
    return report


def _views(directory: Path, report: Report) -> SqliteViewsFile | None:
    if not (directory / FILE).exists():
        return None
    try:
        return SqliteViewsFile(directory)
    except ViewsUnavailable as error:
        report.fault(str(error))
        return None


class _Verification:
    """Reads in short transactions, so that a bank that is served from the files is not held up.

    Views are rebuilt as far as those in the directory are: they may not have seen the end of the log yet.
    """

    def __init__(self, log: LogFile, views: SqliteViewsFile | None, report: Report) -> None:
        self._log = log
        # Those of another log are rebuilt at the next start.
        self._views = views if views and views.place()[0] == LogId(log.bank_id, log.store_id) else None
        self._report = report
        self._quarantine = _quarantine(log, report)
        self._audit = Audit(report.fault, self._quarantine.skipped)
        self._rebuilt = BEGINNING
        self._changes: list[Change] = []
        self._damaged: set[str] = set()

    def run(self) -> None:
        self._read(self._place())
        if self._views:
            try:
                self._compare(self._views)
            except ViewsUnavailable as error:
                self._report.fault(str(error))
        self._audit.end()
        for fault in self._log.faults(self._audit.position):
            self._report.fault(fault)
        self._report.lines[:0] = _described(self._audit, self._quarantine)

    def _place(self) -> LogPosition:
        return self._views.place()[1] if self._views else BEGINNING

    def _read(self, place: LogPosition) -> None:
        """To the end of the log; views are rebuilt up to `place`."""
        for event in self._log.events(self._rebuilt.position):
            if isinstance(event, str):
                self._note_damage(event)
                continue
            # What has been audited may have to be read once more, for the views.
            new = event.position > self._audit.position
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

    def _compare(self, views: SqliteViewsFile) -> None:
        with views.held():
            if views.place()[1].position < self._rebuilt.position:
                self._report.lines.append("views: not compared, as the bank has begun to rebuild them meanwhile")
                return
            # What was written since.
            self._read(self._place())
            different = dict(views.differences())
        place = self._rebuilt.position
        self._report.lines.append(f"views: as of position {place:,}, compared with views made anew")
        if place > self._audit.position:
            self._report.fault(f"the log ends at position {self._audit.position}, and the views are of {place}")
        # These rows never change, so that they need not be of one moment.
        starts = range(0, place, SLICE)
        different["account_events"] = sum(views.differing_events(at, min(at + SLICE, place)) for at in starts)
        for table, rows in different.items():
            if rows:
                self._report.fault(f"views: {rows:,} rows of {table} are not those of the log")


def _quarantine(log: LogFile, report: Report) -> QuarantineRecord:
    try:
        return log.quarantine()
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
        lines.append("money: {} paid in, {} paid out, {} on accounts".format(*shown))
    for stream, aside in sorted(quarantine.aside.items()):
        lines.append(f"quarantine: {stream} from revision {aside.revision} on: {aside.reason}")
    if audit.skipped:
        lines.append(f"quarantine: {audit.skipped:,} events were skipped by an operator, and count for nothing")
    return lines

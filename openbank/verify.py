"""Whether what is on disk is what a bank has written, all of it: the log, and the views against it.

Reads the embedded stores' files as they are at one moment and changes nothing, so that a bank may be served from them
meanwhile.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from openbank.domain.money import Money
from openbank.eventstore.audit import Audit
from openbank.eventstore.codec import UndecodableEvent, UnknownEventType
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.sqlite import LogFile
from openbank.views.changes import Change
from openbank.views.port import ViewsUnavailable
from openbank.views.projector import changes_of
from openbank.views.sqlite import FILE, SqliteViews, SqliteViewsFile

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
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="openbank-verify-")))
        rebuilt = SqliteViews(scratch)
        stack.push_async_callback(rebuilt.close)
        views = _views(directory, scratch, report)
        if views:
            stack.callback(views.close)
        # After that of the views, which are never ahead of it.
        log = stack.enter_context(closing(LogFile(directory)))
        # Those of another log are rebuilt at the next start.
        compared = views if views and views.log == (log.bank_id, log.store_id) else None
        audit = await _read(log, _Rebuild(rebuilt, compared.position if compared else BEGINNING), report)
        for fault in log.faults(audit.position):
            report.fault(fault)
        _describe(audit, report)
        if compared:
            _compare(compared, audit, report)
    return report


def _views(directory: Path, scratch: Path, report: Report) -> SqliteViewsFile | None:
    if not (directory / FILE).exists():
        return None
    try:
        return SqliteViewsFile(directory, scratch)
    except ViewsUnavailable as error:
        report.fault(str(error))
        return None


class _Rebuild:
    """Views made anew, up to where those that are compared with them are."""

    def __init__(self, views: SqliteViews, through: LogPosition) -> None:
        self._views = views
        self._through = through
        self._changes: list[Change] = []

    async def take(self, event: RecordedEvent) -> None:
        if event.position <= self._through.position:
            # What cannot be projected has stopped the bank's own projector there too, and the audit tells of it.
            with suppress(UnknownEventType, UndecodableEvent, ValueError):
                self._changes += changes_of(event)
        if len(self._changes) >= BATCH_CHANGES:
            await self.end()

    async def end(self) -> None:
        changes, self._changes = self._changes, []
        await self._views.project(changes, self._through)


async def _read(log: LogFile, rebuild: _Rebuild, report: Report) -> Audit:
    audit = Audit(report.fault)
    for event in log.events():
        if isinstance(event, str):
            report.fault(event)
        else:
            audit.take(event)
            await rebuild.take(event)
    audit.end()
    await rebuild.end()
    return audit


def _describe(audit: Audit, report: Report) -> None:
    report.lines.append(
        f"log: {audit.events:,} events, {audit.persons:,} persons, {audit.accounts:,} accounts;"
        f" it ends at position {audit.position:,}"
    )
    for currency, paid_in in sorted(audit.paid_in.items()):
        paid_out, held = audit.paid_out[currency], audit.on_accounts[currency]
        shown = [str(Money(currency, minor)) for minor in (paid_in, paid_out, held)]
        report.lines.append("money: {} paid in, {} paid out, {} on accounts".format(*shown))


def _compare(views: SqliteViewsFile, audit: Audit, report: Report) -> None:
    report.lines.append(f"views: as of position {views.position.position:,}, compared with views made anew")
    if views.position.position > audit.position:
        report.fault(f"the log ends at position {audit.position}, and the views are of {views.position.position}")
    for table, rows in views.differences().items():
        report.fault(f"views: {rows:,} rows of {table} are not those of the log")

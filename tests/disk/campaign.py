"""Takes the power from a bank again and again, and compares its answers with what its disk has kept.

A lap is one life of a bank. Everything it does to its files is in a journal, with the answers that its clients got in
between: so one life is good for any number of cuts, each at a moment of its own and with a chance of its own for what
was not synced. The next life begins with what the last cut, at the end, has left.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from openbank.eventstore.port import BEGINNING, RecordedEvent
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from openbank.views.matching import match_log
from openbank.views.sqlite import SqliteViews
from tests.callers import Caller
from tests.disk import journal, promises
from tests.disk.journal import Disk
from tests.disk.layer import Layer
from tests.disk.load import Load
from tests.disk.promises import Promise
from tests.faults.told import Broken
from tests.readers import Readers, Shell, reading
from tests.servers import ServerProcess

LAP_CUTS = 25
LAP_TOLD = 300
"""Promises after which the bank is killed or stopped."""
LAP_SECONDS_MAX = 60.0


@dataclass
class Figures:
    lives: int = 0
    cuts: int = 0
    faulty: int = 0
    """Lives in which writes or syncs were to fail."""
    readers: int = 0
    """Readers of the bank's files, while it was served, killed and started."""
    starts: int = 0
    told: int = 0
    checked: int = 0
    """Promises, each at all the cuts that came after it."""
    events: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cuts:,} losses of power in {self.lives:,} lives, {self.faulty:,} of them with writes or syncs that"
            f" fail, {self.starts:,} starts beside {self.readers:,} readers: {self.told:,} answers, compared"
            f" {self.checked:,} times with up to {self.events:,} events"
        )


async def campaign(library: Path, cuts: int, seed: int, directory: Path, say: Callable[[str], None]) -> Figures:
    """`say` gets a line for each life. Raises Broken where a bank has not kept its word, and leaves its files there."""
    figures = Figures()
    load = Load(Random(f"{seed}.load"))
    before: list[Promise] = []
    left = directory / "left"
    left.mkdir()
    while figures.cuts < cuts:
        figures.lives += 1
        lap = directory / f"life-{figures.lives}"
        random = Random(f"{seed}.{figures.lives}")
        # A disk that is fast enough is waited for on the event loop, another in a thread.
        layer = Layer(library, lap, sync_seconds=random.choice((0.0, 0.002)))
        life = Life(layer, random, load)
        told = await life.run(left, min(LAP_CUTS, cuts - figures.cuts), before, figures)
        before += told
        figures.told = len(before)
        shutil.rmtree(lap)
        say(str(figures))
    return figures


class Life:
    """One life of a bank, and its cuts."""

    def __init__(self, layer: Layer, random: Random, load: Load) -> None:
        self._layer = layer
        self._random = random
        self._load = load
        self._starts = 0
        self._process = ServerProcess(
            layer.root / "data",
            "--heartbeat-seconds",
            "0.05",
            environment=layer.environment,
            module=random.choice(("openbank", "tests.disk.bank")),
        )

    async def run(self, left: Path, cuts: int, before: Sequence[Promise], figures: Figures) -> Sequence[Promise]:
        """From what is `left` of the one before it; what the last cut leaves is there afterwards.

        The answers `before`, and those of this life, are compared with each cut; the latter are returned.
        """
        begin = self._layer.put(left)
        faulty = self._random.random() < 0.6
        backups = left.with_name("backups")
        backups.mkdir(exist_ok=True)
        readers = Readers(self._layer.root / "data", backups, self._random, self._layer.environment)
        async with reading(readers):
            await self._live(faulty=faulty)
        self._layer.close()
        figures.readers += readers.count
        figures.starts += self._starts
        figures.faulty += faulty
        told: list[Promise] = []
        for disk in self._cut(begin, cuts, told):
            shutil.rmtree(left)
            disk.cut(left)
            log = await log_of(left)
            promises.check([*before, *told], log)
            figures.cuts += 1
            figures.checked += len(before) + len(told)
            figures.events = len(log)
        return told

    async def _live(self, *, faulty: bool) -> None:
        """Starts the bank again and again beside the same readers, as a supervisor would."""
        if faulty and self._random.random() < 0.6:
            await self._live_past_a_failed_sync()
            return
        lives = self._random.choice((1, 2, 3))
        # The disk may recover, and what has failed before is to be there all the same.
        failing = self._random.randint(1, lives) if faulty else 0
        for number in range(lives):
            await (self._serve_with_faults() if number < failing else self._serve(may_end=False))

    async def _live_past_a_failed_sync(self) -> None:
        """A reader keeps the WAL in use from before the sync that fails until the end."""
        await self._serve(may_end=False)
        log = self._layer.root / "data" / FILE
        async with Shell(log, self._layer.environment) as shell:
            if self._random.random() < 0.2:
                await shell.rest()
            file, after = self._random.choice((f"{FILE}-wal", f"{FILE}-wal", FILE)), self._random.randint(3, 20)
            with self._layer.failing("s", errno.EIO, file, after=after, times=1):
                await self._serve(may_end=True)
            await self._serve(may_end=False)

    async def _serve_with_faults(self) -> None:
        """Writes and syncs of one file fail, once or a few times, at the start or later."""
        faults = (("s", errno.EIO), ("s", errno.EIO), ("w", errno.EIO), ("hw", errno.ENOSPC))
        operations, error = self._random.choice(faults)
        file = self._random.choice(("events.db-wal", "events.db-wal", "events.db", "views.db-wal"))
        after = self._random.randint(0, self._random.choice((20, 300)))
        times = self._random.choice((1, 1, 5, 20))
        with self._layer.failing(operations, error, file, after=after, times=times):
            await self._serve(may_end=True)

    async def _serve(self, *, may_end: bool) -> None:
        """Until a kill or a stop; where it `may_end` by itself, until that."""
        self._starts += 1
        await self._process.launch()
        if self._random.random() < 0.2:
            await asyncio.sleep(self._random.uniform(0, 1.5))
            await self._process.kill()
            return
        if await self._process.is_ready():
            async with Caller(self._process.address) as bank, asyncio.timeout(LAP_SECONDS_MAX):
                await self._work(bank)
        code = await (self._process.stop() if self._random.random() < 0.3 else self._process.kill())
        if code not in (0, -signal.SIGKILL) and not may_end:
            raise Broken(f"the bank has ended with {code}: {self._process.lines[-3:]} {self._process.other_output}")

    async def _work(self, bank: Caller) -> None:
        enough = self._load.told + LAP_TOLD
        working = asyncio.create_task(self._load.work(bank, self._layer))
        while self._load.told < enough and not working.done():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        await (self._process.stop() if self._random.random() < 0.3 else self._process.kill())
        await working

    def _cut(self, begin: int, count: int, told: list[Promise]) -> Iterator[Disk]:
        """The disk at `count` moments of this life, which begins after so many records, the last of them its end.

        `told` gets the answers up to then.
        """
        records = list(journal.read(self._layer.journal))
        any_time = range(begin, len(records) + 1)
        right_after_told = [number for number, record in enumerate(records, 1) if record.operation == journal.TOLD]
        moments = [self._random.choice(right_after_told or any_time) for _ in range(count // 2)]
        moments += [self._random.choice(any_time) for _ in range(count - 1 - len(moments))]
        disk = Disk(self._layer.root, self._random)
        at = 0
        for moment in (*sorted(moments), len(records)):
            for record in records[at:moment]:
                if record.operation == journal.TOLD:
                    told += map(tuple, record.told)
                else:
                    disk.apply(record)
            at = moment
            yield disk


async def log_of(left: Path) -> Sequence[RecordedEvent]:
    """The log of a bank that starts on a copy of what is left. Raises Broken where its views have seen more."""
    copy = left.with_name("started")
    shutil.copytree(left, copy)
    data = copy / "data"
    try:
        return await _start(data) if (data / FILE).exists() else []
    finally:
        shutil.rmtree(copy)


async def _start(data: Path) -> Sequence[RecordedEvent]:
    views, store = SqliteViews(data), SqliteEventStore(data)
    try:
        head = await store.head()
        if views.log == (store.bank_id, store.store_id) and views.place.position > head.position:
            raise Broken(f"the views have come to {views.place.position}, and the log to {head.position}")
        await match_log(views, store)
        events: list[RecordedEvent] = []
        page = await store.read_log(BEGINNING)
        while page.events:
            events += page.events
            page = await store.read_log(page.through)
        return events
    finally:
        await store.close()
        await views.close()

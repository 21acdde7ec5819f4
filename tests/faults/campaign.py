"""Kills a bank again and again while clients use it, and holds everything it told against its log.

A campaign goes in laps. In a lap clients work while parts are killed and started, in turn and at random, and their
connections are cut; at its end all parts are there, every request has its outcome, and everything is compared.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from tests.faults.check import check_complete, check_feed, check_told, check_views
from tests.faults.driver import Driver
from tests.faults.governor import SOON_SECONDS
from tests.faults.ledger import Ledger
from tests.faults.parts import Bank, Part
from tests.faults.recorder import AccountEvents, PersonEvents
from tests.faults.told import Broken
from tests.readers import Readers, reading
from tests.stand_ins.eventstoredb.faults import Kind

LAP_KILLS = 12
BANK_KILLS = {"embedded": 250, "mixed": 60, "servers": 40}
"""In one bank. FerretDB looks at all documents for one that is not there."""
ALIVE_REQUESTS = 50
"""At most so many are acknowledged between two kills, and one at least: a bank that is down has nothing to lose."""
CUTS: tuple[Kind, ...] = ("cut_before", "cut_after", "hang_after", "refuse")
"""What happens to appends on their way, beside the kills."""
IN_TRANSIT_SECONDS_MAX = 10.0
"""For money to arrive or to come back, from when all parts are there and no client does anything for it."""
POISON_CHANCE = 0.5
"""That another program spoils an account, after each lap."""
LATENCY_SECONDS_MAX = 0.25
"""For any call to the event store, appends and reads alike: so others get between the steps of a command."""


@dataclass
class Figures:
    kills: Counter[str] = field(default_factory=Counter)
    """By part."""
    counts: Counter[str] = field(default_factory=Counter)
    """The number of requests by their outcome, and of what else there is to count."""
    seconds: float = 0.0

    def add(self, other: Figures) -> None:
        self.kills += other.kills
        self.counts += other.counts
        self.seconds += other.seconds

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        return f"{self.kills.total()} kills ({parts}) in {self.seconds:.0f} s: {counts}"


async def campaign(back_end: str, kills: int, seed: int, directory: Path, say: Callable[[str], None]) -> Figures:
    """One bank after another: what is checked again and again, and is slow to check, is to stay small.

    `say` gets a line for each lap. Raises Broken where a bank has not kept its word.
    """
    figures = Figures()
    for number in count(1):
        left = kills - figures.kills.total()
        if left <= 0:
            break
        place = directory / f"bank-{number}"
        place.mkdir()
        figures.add(await Siege(back_end, min(left, BANK_KILLS[back_end]), f"{seed}.{number}", place).run(say))
    return figures


class Siege:
    """One bank, from its first start to its last check."""

    def __init__(self, back_end: str, kills: int, seed: str, directory: Path) -> None:
        self._name = seed
        self._random = Random(seed)
        self._kills = kills
        self._bank = Bank(back_end, directory, seed=self._random.randrange(1000))
        # FerretDB takes 100 to 300 writes a second, and the views are to keep up.
        pause_seconds = 0.03 if back_end == "servers" else 0.0
        self._driver = Driver(lambda: self._bank.addresses, Random(f"{seed}.driver"), pause_seconds)
        self._feeds = AccountEvents(self._driver.caller), PersonEvents(self._driver.caller)
        self._cuts = 0
        self._turn = 0
        self._down: set[Part] = set()
        self._events = 0
        self._ledger = Ledger(())
        self._readers: Readers | None = None

    @property
    def killed(self) -> int:
        return sum(part.kills for part in self._bank.parts)

    async def run(self, say: Callable[[str], None]) -> Figures:
        """Raises Broken where the bank has not kept its word."""
        began = time.monotonic()
        try:
            await self._bank.start()
            async with self._driver, self._recording(), self._reading():
                await self._driver.begin()
                while self.killed < self._kills:
                    await self._lap(min(self._kills, self.killed + LAP_KILLS))
                    await self._settled()
                    await self._poison()
                    await self._check()
                    say(f"bank {self._name}: {self._figures(time.monotonic() - began)}")
        except BaseExceptionGroup as group:
            self._bank.keep_logs()
            raise _first(group) from group
        finally:
            await self._bank.stop()
        return self._figures(time.monotonic() - began)

    async def _lap(self, until: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._driver.work())
            while self.killed < until:
                await self._driver.acknowledged(self._random.randint(1, ALIVE_REQUESTS))
                await self._cut()
                await self._kill(self._choose())
                if self._random.random() < 0.7:
                    await self._bank.ready()
                self._bank.look_for_bugs()
            await self._bank.ready()
            if self._bank.faults:
                await asyncio.to_thread(self._bank.faults.clear)
            await self._driver.acknowledged(ALIVE_REQUESTS)
            self._driver.stop()

    async def _settled(self) -> None:
        """Until no money is in transit and no hold is due soon: no client does anything for it any more, so the bank
        does it by itself."""
        deadline = time.monotonic() + IN_TRANSIT_SECONDS_MAX
        soon = int((time.time() + SOON_SECONDS) * 1e6)
        poisoned = self._driver.poisoned
        while True:
            ledger = Ledger(await self._bank.log(), self._bank.forged)
            if not (ledger.in_transit_but_for(poisoned) or ledger.ends_soon(soon, poisoned)):
                return
            if time.monotonic() > deadline:
                raise Broken(f"money is in transit or on hold after {IN_TRANSIT_SECONDS_MAX} s: {ledger.transfers}")
            await asyncio.sleep(0.2)

    async def _kill(self, part: Part) -> None:
        """And perhaps others, while it is down."""
        self._note(f"kill of {part.name}")
        self._down.add(part)
        await part.kill(self._random)
        if self._random.random() < 0.2:
            other = self._choose()
            if other not in self._down:
                await self._kill(other)
        await asyncio.sleep(self._random.choice((0, self._random.uniform(0, 0.5), self._random.uniform(0, 2))))
        await part.again(self._random)
        self._down.remove(part)
        self._note(f"start of {part.name}")

    async def _poison(self) -> None:
        if self._bank.faults and self._random.random() < POISON_CHANCE:
            account_id = self._driver.give_up_account()
            if account_id is not None:
                await self._bank.poison(account_id, self._random)

    def _choose(self) -> Part:
        """In turn, and at random."""
        parts = self._bank.parts
        self._turn += 1
        return parts[self._turn // 2 % len(parts)] if self._turn % 2 else self._random.choice(parts)

    def _note(self, what: str) -> None:
        """In every instance's log."""
        for process in self._bank.instances:
            process.lines.append({"level": "info", "message": what, "time": time.time()})

    async def _cut(self) -> None:
        faults = self._bank.faults
        if faults and self._random.random() < 0.5:
            for _ in range(self._random.randint(1, 8)):
                seconds = self._random.uniform(0, LATENCY_SECONDS_MAX)
                times = self._random.randint(1, 20)
                await asyncio.to_thread(faults.add, "slow", times=times, seconds=seconds, on=("append", "read"))
            self._note("latency")
        if faults and self._random.random() < 0.7:
            kind = self._random.choice(CUTS)
            times, prefix = self._random.randint(1, 5), self._random.choice(("", "account-", "number-", "request-"))
            await asyncio.to_thread(faults.add, kind, times=times, prefix=prefix)
            self._note(f"{kind} {times} {prefix}")
            self._cuts += 1

    async def _check(self) -> None:
        self._bank.look_for_bugs()
        token = await self._driver.last_word()
        ledger = Ledger(await self._bank.log(), self._bank.forged)
        check_told(self._driver.asked, ledger)
        for recorder, category in zip(self._feeds, ("account", "person"), strict=True):
            await check_feed(recorder, ledger.of(category))
            check_complete(recorder, self._driver.asked)
        await check_views(self._driver.caller(), ledger, token, self._driver.poisoned)
        self._events = len(ledger.events)
        self._ledger = ledger

    @asynccontextmanager
    async def _recording(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(recorder.run()) for recorder in self._feeds]
            yield
            for task in running:
                task.cancel()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """Other processes read the embedded bank's files."""
        data = self._bank.embedded_data
        if data is None:
            yield
            return
        backups = data.with_name("backups")
        backups.mkdir()
        self._readers = Readers(data, backups, Random(f"{self._name}.readers"), pause_seconds=1)
        async with reading(self._readers):
            yield

    def _figures(self, seconds: float) -> Figures:
        asked, done = self._driver.asked, self._driver.done
        counts = {
            "acknowledged": len(done),
            "refused": sum(bool(one.refusal) for one in asked if not one.answers),
            "uncertain, without a request id": sum(one.written == (0, 1) for one in asked),
            "calls": sum(one.sent for one in asked),
            "faults on the way of appends": self._cuts,
            "readers of its files": self._readers.count if self._readers else 0,
            "accounts poisoned": len(self._driver.poisoned),
            "feeds resumed": sum(recorder.resumed for recorder in self._feeds),
            "events": self._events,
            **{f"{kind} events": count for kind, count in sorted(self._ledger.kinds.items())},
        }
        return Figures(Counter({part.name: part.kills for part in self._bank.parts}), Counter(counts), seconds)


def _first(group: BaseExceptionGroup) -> BaseException:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    return group

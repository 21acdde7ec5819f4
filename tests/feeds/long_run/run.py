"""Two instances that are restarted and killed in turn, a network that cuts and falls silent, writers, and watchers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from tests.client.proxy import Proxy, proxy_of
from tests.faults.parts import Bank, Instance
from tests.faults.told import Broken
from tests.feeds.bench import ACCOUNT, DEPOSITED, PERSON
from tests.feeds.long_run.reference import Reference, Wish
from tests.feeds.long_run.watchers import Watcher, World
from tests.feeds.long_run.writers import Writers

INSTANCES = 2
MUTE_SECONDS = 4.0
STOP_SECONDS_MAX = 60.0
"""Six times as long as a drain may take: the machine is busy."""
END_SECONDS_MAX = 300.0
"""For the last watch to have all of the log."""
TELL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    seconds: float
    watchers: int
    writes_per_second: float
    seed: int
    accounts_each: int = 100
    """For each of twenty owners. An instance that restarts reads the stream of each account that is written to."""
    silence_seconds: int = 20
    """The server's limit for a client that takes nothing; some stall for up to twice as long."""
    life_seconds_max: float = 90.0
    calm_seconds: tuple[float, float] = (2.0, 8.0)
    """Between two things that break."""


@dataclass(frozen=True, slots=True)
class Figures:
    plan: Plan
    seconds: float
    writes: int
    """Acknowledged."""
    counts: Counter[str]
    broken: Counter[str]
    interruptions: Counter[str]

    def __str__(self) -> str:
        counts = "; ".join(f"{count:,} {name}" for name, count in sorted((self.counts + self.broken).items()))
        why = ", ".join(f"{name} {count:,}" for name, count in self.interruptions.most_common())
        return (
            f"{self.seconds:.0f} s, {self.plan.watchers} watchers:"
            f" {self.writes:,} writes acknowledged ({self.writes / self.seconds:.0f}/s); {counts};"
            f" interruptions: {why or 'none'}"
        )


class Run:
    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._random = Random(plan.seed)
        flags = ("--silence-seconds-max", str(plan.silence_seconds))
        self._bank = Bank("mixed", directory, INSTANCES, flags)
        self._proxies: list[Proxy] = []
        self._writers = Writers(lambda: self._bank.addresses, Random(f"{plan.seed}.writers"), plan.writes_per_second)
        self._broken: Counter[str] = Counter()

    async def run(self) -> Figures:
        """Raises Broken where a watch has not been given the log, exactly."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._bank.stop)
            await self._bank.start()
            stack.push_async_callback(self._writers.close)
            store = await EventStoreDBEventStore.open(self._bank.event_store_uri)
            stack.push_async_callback(store.close)
            for address in self._bank.addresses:
                self._proxies.append(await stack.enter_async_context(proxy_of(address)))
            await self._writers.begin(self._plan.accounts_each)
            try:
                return await self._watch_and_break(Reference(store))
            except BaseException:
                self._bank.keep_logs()
                raise

    async def _watch_and_break(self, reference: Reference) -> Figures:
        plan, began = self._plan, time.monotonic()
        world = World(
            [proxy.address for proxy in self._proxies],
            reference,
            self._writers.accounts,
            self._writers.owners,
            plan.life_seconds_max,
            2 * plan.silence_seconds,
        )
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(Watcher(world, Random(f"{plan.seed}.{number}")).run())
                for number in range(plan.watchers)
            ]
            writing = tasks.create_task(self._writers.run())
            telling = tasks.create_task(self._tell(world, began))
            while time.monotonic() < began + plan.seconds:
                await self._break_something()
                self._bank.look_for_bugs()
            self._writers.stop()
            await writing
            wrote = time.monotonic() - began
            world.head = await reference.head()
            world.ending.set()
            async with asyncio.timeout(END_SECONDS_MAX):
                await asyncio.gather(*watchers)
            telling.cancel()
        self._bank.look_for_bugs()
        await self._check_writes(reference, world.head)
        return self._figures(world, wrote)

    async def _break_something(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._plan.calm_seconds))
        what = self._random.choice((self._restart, self._cut, self._cut, self._mute))
        await what()

    async def _restart(self) -> None:
        """An instance, in turn: stopped or killed, and away for a while."""
        number = (self._broken["stops"] + self._broken["kills"]) % INSTANCES
        instance = self._bank.parts[-INSTANCES:][number]
        assert isinstance(instance, Instance)
        if self._random.random() < 0.5:
            self._broken["stops"] += 1
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await instance.process.stop()
        else:
            self._broken["kills"] += 1
            await instance.kill(self._random)
        await asyncio.sleep(self._random.choice((0, self._random.uniform(0, 3))))
        await instance.again(self._random)
        await self._bank.ready()
        self._proxies[number].target = instance.process.address

    async def _cut(self) -> None:
        self._broken["connections cut"] += self._random.choice(self._proxies).cut(self._random.random())

    async def _mute(self) -> None:
        self._broken["silences of the network"] += 1
        proxy = self._random.choice(self._proxies)
        proxy.mute()
        await asyncio.sleep(self._random.uniform(0, MUTE_SECONDS))
        proxy.unmute()

    async def _check_writes(self, reference: Reference, head: int) -> None:
        await reference.reach(head)
        deposits = reference.count(Wish(ACCOUNT, types=frozenset({DEPOSITED})))
        moves = reference.count(Wish(PERSON)) - len(self._writers.owners)
        if (deposits, moves) != (self._writers.deposits, self._writers.moves):
            raise Broken(
                f"{self._writers.deposits} deposits and {self._writers.moves} moves were acknowledged,"
                f" the log has {deposits} and {moves}"
            )

    async def _tell(self, world: World, began: float) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self._say(str(self._figures(world, time.monotonic() - began)))

    def _figures(self, world: World, seconds: float) -> Figures:
        writes = self._writers.deposits + self._writers.moves
        return Figures(self._plan, seconds, writes, world.counts, self._broken, world.interruptions)

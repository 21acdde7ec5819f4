"""One watcher: it comes, watches in its own manner, goes, and is held against the log; again and again."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.accounts.v1.account_events_pb2 import AccountEventType
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.client import CHANNEL_OPTIONS, Interruption, watch, watch_sync
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CONFIRMED
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsRequest
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest
from tests.faults.told import Broken
from tests.feeds.bench import ACCOUNT, BOTH, DEPOSITED, PERSON
from tests.feeds.long_run.reference import Reference, Wish, hold_against, key

MANNERS = {"reads": 50, "dawdles": 15, "stalls": 15, "stops when caught up": 20}
STARTS = {"live": 35, "token": 50, "time": 10, "beginning": 5}
OPENED = "openbank.accounts.v1.AccountOpened"
TYPES = {
    DEPOSITED: AccountEventType.ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED,
    OPENED: AccountEventType.ACCOUNT_EVENT_TYPE_ACCOUNT_OPENED,
}
PUBLISHED_TYPES = {DEPOSITED: "money.deposited.v1", OPENED: "account.opened.v1"}
SYNCHRONOUS_SHARE = 0.1
"""The part of the watches that have a thread of their own each."""
TOKENS_KEPT = 400
# A connection for each: channels with the same options would else share theirs.
OPTIONS = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


@dataclass
class World:
    """What all watchers have in common."""

    addresses: Sequence[str]
    """The network's ends, each before an instance."""
    reference: Reference
    accounts: Sequence[str]
    owners: Sequence[str]
    life_seconds_max: float
    stall_seconds_max: float
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing more is written: a watch that has all of the log may end."""
    head: int = 0
    """The log's end, once `ending`."""
    tokens: list[str] = field(default_factory=list)
    """Tokens of former watches: others continue from there, through a filter of their own."""
    counts: Counter[str] = field(default_factory=Counter)
    interruptions: Counter[str] = field(default_factory=Counter)


class Watcher:
    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random

    async def run(self) -> None:
        """Raises Broken where a record is not the log."""
        while not self._world.ending.is_set():
            await self._live()
            await self._rest(self._random.uniform(0, 1))

    async def _live(self) -> None:
        life = Life(self._world, self._random)
        await life.prepare()
        addresses = self._random.sample(self._world.addresses, len(self._world.addresses))
        target = f"ipv4:{','.join(addresses)}"
        if self._random.random() < SYNCHRONOUS_SHARE:
            await life.live(_in_a_thread(target, life.request, life.interrupted))
            self._world.counts["watches without asyncio"] += 1
        else:
            async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
                await life.live(watch(channel, life.request, life.interrupted))
        await life.check()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._world.ending.wait(), seconds)


class Life:
    """One watch, through all its interruptions."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._manner = _choose(MANNERS, random)
        self._start = _choose(STARTS, random)
        self._wish = self._some_wish()
        self.request = _request(self._wish)
        self._time = 0
        self._head_before = 0
        self._record = array("q")
        self._first_token = self._token = ""
        self._until = asyncio.get_running_loop().time() + random.uniform(1, world.life_seconds_max)

    def __str__(self) -> str:
        return f"a watch that {self._manner}, of {self._wish}, from {self._start}"

    async def prepare(self) -> None:
        self.request.stop_when_caught_up = self._manner == "stops when caught up"
        self.request.heartbeat_interval.FromMilliseconds(self._random.randint(1000, 3000))
        self._head_before = await self._world.reference.head()
        await self._choose_start()

    async def live(self, watching: AsyncGenerator[Any, None]) -> None:
        async with aclosing(watching):
            async for response in watching:
                await self._take(response)
                await self._dawdle()
                if await self._over():
                    return
        if not response.caught_up or await self._world.reference.position(self._token) < self._head_before:
            raise Broken(f"{self} has ended before it had caught up")

    async def check(self) -> None:
        reference = self._world.reference
        start, end = await reference.position(self._first_token), await reference.position(self._token)
        await reference.reach(end)
        if self._start == "time":
            await reference.reach(start + 1)
            if not reference.starts_at(start, self._time):
                raise Broken(f"{self} did not start at the first event of {self._time}")
        hold_against(self._record, reference.between(start, end, self._wish), str(self))
        self._world.counts.update({"watches held against the log": 1, "events held": len(self._record)})
        self._world.counts[f"watches from {self._start}"] += 1
        self._world.counts[f"watches: {self._manner}"] += 1
        self._world.counts["watches of CloudEvents"] += self._wish.as_cloud_events

    async def _choose_start(self) -> None:
        time = self._world.reference.some_time(self._random.random())
        if self._start == "token" and self._world.tokens:
            self.request.resume_token = self._random.choice(self._world.tokens)
        elif self._start == "time" and time is not None:
            self._time = time - self._random.randint(0, 1)
            self.request.time.CopyFrom(_timestamp(self._time))
        elif self._start == "beginning":
            self.request.beginning.SetInParent()
        else:
            self._start = "live"
            self.request.live.SetInParent()

    def _some_wish(self) -> Wish:
        world, random = self._world, self._random
        some_accounts = frozenset(random.sample(world.accounts, 3))
        some_owners = frozenset(random.sample(world.owners, 2))
        some_type = frozenset({random.choice(list(TYPES))})
        return random.choices(
            [
                Wish(ACCOUNT),
                Wish(ACCOUNT, ids=some_accounts),
                Wish(ACCOUNT, owners=some_owners),
                Wish(ACCOUNT, owners=some_owners, types=some_type),
                Wish(PERSON),
                Wish(PERSON, ids=some_owners),
                Wish(BOTH, owners=some_owners, as_cloud_events=True),
                Wish(ACCOUNT, ids=some_accounts, types=some_type, as_cloud_events=True),
            ],
            [1, 4, 3, 2, 2, 2, 2, 2],
        )[0]

    async def _take(self, response: Any) -> None:
        if response.signal == FEED_SIGNAL_CONFIRMED:
            await self._confirmed(response)
        name = "id" if self._wish.as_cloud_events else "event_id"
        self._record.extend([key(getattr(event, name)) for event in response.events])
        self._token = response.resume_token
        self._world.counts["responses"] += 1

    async def _confirmed(self, response: Any) -> None:
        position = await self._world.reference.position(response.resume_token)
        if self._first_token:
            if position != await self._world.reference.position(self._token):
                raise Broken(f"{self} was not resumed where it was")
            return
        self._first_token = response.resume_token
        head = await self._world.reference.head()
        asked = self.request.resume_token
        right = {
            "live": lambda: self._head_before <= position <= head,
            "beginning": lambda: position == 0,
            "time": lambda: position <= head,
        }
        if asked and position != await self._world.reference.position(asked):
            raise Broken(f"{self} did not start after its token")
        if not asked and not right[self._start]():
            raise Broken(f"{self} starts at {position}, between {self._head_before} and {head}")

    async def _dawdle(self) -> None:
        if self._manner == "dawdles":
            await self._pause(self._random.uniform(0, 0.4))
        elif self._manner == "stalls" and self._random.random() < 0.05:
            self._world.counts["stalls"] += 1
            await self._pause(self._random.uniform(0, self._world.stall_seconds_max))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._world.ending.wait(), seconds)

    async def _over(self) -> bool:
        """While it lasts each leaves when it likes; in the end with all of the log."""
        if self.request.stop_when_caught_up:
            return False
        if self._world.ending.is_set():
            return await self._world.reference.position(self._token) >= self._world.head
        if asyncio.get_running_loop().time() < self._until:
            return False
        self._world.tokens.append(self._token)
        del self._world.tokens[:-TOKENS_KEPT]
        return True

    def interrupted(self, interruption: Interruption) -> None:
        why = interruption.why.partition(":")[0]
        self._world.interruptions["no heartbeat" if why.startswith("no heartbeat") else why] += 1


def _request(wish: Wish) -> Any:
    if wish.as_cloud_events:
        types = [PUBLISHED_TYPES[name] for name in wish.types]
        return WatchCloudEventsRequest(person_ids=wish.owners, account_ids=wish.ids, event_types=types)
    if wish.categories == PERSON:
        return WatchPersonEventsRequest(person_ids=wish.ids)
    numbers = [TYPES[name] for name in wish.types]
    return WatchAccountEventsRequest(account_ids=wish.ids, owner_ids=wish.owners, event_types=numbers)


async def _in_a_thread(
    target: str, request: Any, interrupted: Callable[[Interruption], None]
) -> AsyncGenerator[Any, None]:
    """What a client without asyncio is given."""
    loop, stop = asyncio.get_running_loop(), threading.Event()
    with grpc.insecure_channel(target, options=OPTIONS) as channel, ThreadPoolExecutor(1) as thread:
        responses = watch_sync(channel, request, stop, interrupted)
        try:
            while (response := await loop.run_in_executor(thread, next, responses, None)) is not None:
                yield response
        finally:
            stop.set()
            await loop.run_in_executor(thread, responses.close)


def _choose(weights: dict[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]


def _timestamp(microseconds: int) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(microseconds)
    return timestamp

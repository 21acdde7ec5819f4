"""A feed on a bench: a log that is written to by hand, and clients that record what they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from openbank.domain.clock import system_clock
from openbank.eventstore.port import BEGINNING, EventStore, LogPosition, LogSlice, NewEvent, RecordedEvent
from openbank.eventstore.streams import split
from openbank.feeds.feed import Feed
from openbank.feeds.filter import Filter, Form
from openbank.feeds.limits import FeedLimits
from openbank.feeds.message import FeedMessage, Signal
from openbank.feeds.watch import After, Start, watch
from openbank.following.entry import Entry
from openbank.following.tail import LogTail
from tests.eventstore.memory import new_events

PATIENCE_SECONDS = 10.0

ACCOUNT, PERSON = frozenset({"account"}), frozenset({"person"})
BOTH = ACCOUNT | PERSON
ACCOUNTS = Filter(ACCOUNT)
PERSONS = Filter(PERSON)
FROM_THE_BEGINNING = After(BEGINNING)
LIMITS = {"heartbeat_seconds": 15.0, "silence_seconds_max": 300.0, "drain_seconds": 5.0, "watches_max": 10_000}

DEPOSITED = "openbank.accounts.v1.MoneyDeposited"
WITHDRAWN = "openbank.accounts.v1.MoneyWithdrawn"
REGISTERED = "openbank.persons.v1.PersonRegistered"
RESERVED = "openbank.storage.v1.AccountNumberReserved"


def in_form(event: RecordedEvent, form: Form) -> bytes:
    return event.data if form is Form.EVENT else event.id


class Client:
    """Watches, and keeps every message. It takes none while it is stalled."""

    def __init__(self) -> None:
        self.messages: list[FeedMessage] = []
        self._reading = asyncio.Event()
        self._reading.set()
        self._told = asyncio.Event()
        self.task: asyncio.Task[None]

    async def send(self, message: FeedMessage) -> None:
        await self._reading.wait()
        self.messages.append(message)
        self._told.set()

    @property
    def events(self) -> list[RecordedEvent]:
        return [event for message in self.messages for event in message.events]

    @property
    def last(self) -> FeedMessage:
        return self.messages[-1]

    @property
    def signals(self) -> list[Signal]:
        return [message.signal for message in self.messages]

    def stall(self) -> None:
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._told.clear()
                if self.task.done():
                    self.task.result()
                    raise AssertionError("the watch has ended")
                waiting = asyncio.ensure_future(self._told.wait())
                await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    async def until_events(self, count: int) -> None:
        await self.until(lambda: len(self.events) >= count)

    async def until_confirmed(self) -> None:
        await self.until(lambda: bool(self.messages))

    async def until_caught_up(self) -> None:
        await self.until(lambda: bool(self.messages) and self.last.caught_up)

    async def until_passed(self, position: int) -> None:
        await self.until(lambda: bool(self.messages) and self.last.position.position >= position)

    async def end(self) -> None:
        """What the watch ended with is raised."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


class NoTimes:
    """Keeps no places of times, and counts how often it is asked for one."""

    def __init__(self) -> None:
        self.asked = 0
        self.place = BEGINNING

    async def place_before(self, time: int) -> LogPosition:
        self.asked += 1
        return self.place


class SlowOwners:
    """The owners of the accounts of a log, as views that are behind know them: up to where they were last asked."""

    def __init__(self, store: EventStore) -> None:
        self.place = BEGINNING
        self._store = store

    async def accounts_of(self, owner_id: str, limit: int) -> Sequence[str]:
        found: dict[str, None] = {}
        page = LogSlice((), BEGINNING)
        while not page.caught_up:
            page = await self._store.read_log(page.through)
            for event in page.events:
                category, account_id = split(event.stream)
                if category == "account" and event.metadata.owner_id == owner_id:
                    found[account_id] = None
        self.place = page.through
        return list(found)[:limit]


class Bench:
    def __init__(self, store: EventStore, limits: FeedLimits, ring_events: int) -> None:
        self.store = store
        self.encoded = 0
        """How often an event was encoded."""
        self.unknown_type = ""
        """One that can't be encoded."""
        self.tail = LogTail(store, ring_events)
        self.times = NoTimes()
        self.owners = SlowOwners(store)
        self.feed = Feed(store, self.times, self.tail, self.encode, limits, system_clock, self.owners)
        self.clients: list[Client] = []

    def encode(self, entry: Entry, form: Form) -> bytes:
        event = entry.event
        if event.type == self.unknown_type:
            raise LookupError(event.type)
        self.encoded += 1
        return in_form(event, form)

    async def append(self, stream: str, events: Sequence[NewEvent]) -> int:
        return await self.store.append(stream, len(await self.store.read_stream(stream)), events)

    async def deposit(
        self, account: str = "1", how_many: int = 1, owner: str = "ann", type: str = DEPOSITED, size: int = 16
    ) -> int:
        """One command after another, each of one event."""
        position = 0
        for _ in range(how_many):
            position = await self.append(f"account-{account}", new_events(owner=owner, type=type, size=size))
        return position

    async def register(self, person: str) -> int:
        return await self.append(f"person-{person}", new_events(owner="", type=REGISTERED))

    async def reserve(self, number: str) -> int:
        return await self.append(f"number-{number}", new_events(owner="", type=RESERVED))

    def watch(
        self, start: Start = FROM_THE_BEGINNING, filter: Filter = ACCOUNTS, stop_when_caught_up: bool = False
    ) -> Client:
        client = Client()
        client.task = asyncio.create_task(watch(self.feed, start, filter, stop_when_caught_up, client.send))
        self.clients.append(client)
        return client

    async def log(self) -> list[RecordedEvent]:
        log: list[RecordedEvent] = []
        page = LogSlice((), BEGINNING)
        while not page.caught_up:
            page = await self.store.read_log(page.through)
            log += page.events
        return log

    async def accounts(self) -> list[RecordedEvent]:
        return [event for event in await self.log() if event.stream.startswith("account-")]


@asynccontextmanager
async def bench(
    store: EventStore, *, ring_events: int = 100, running: bool = True, **limits: float
) -> AsyncIterator[Bench]:
    made = Bench(store, FeedLimits(**{**LIMITS, **limits}), ring_events)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(made.tail.run()), asyncio.create_task(made.feed.run())] if running else []
    try:
        while running and not made.tail.available:
            await made.tail.changed()
        yield made
    finally:
        tasks += [client.task for client in made.clients]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""A bank in processes of its own, and what of it can be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from uuid import UUID

import grpc
from esdbclient import NewEvent
from esdbclient.exceptions import EventStoreDBClientException

from openbank.app import backup
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import BEGINNING, EventStore, RecordedEvent
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from tests.back_ends import BackEnd
from tests.faults.told import Broken
from tests.servers import ServerProcess
from tests.stand_ins.clients import EXISTS, connected
from tests.stand_ins.process import EventStoreDBProcess, FerretDBProcess, RemoteFaults, Restartable

BACK_ENDS = ("embedded", "mixed", "servers")
INSTANCES = 3
NODES = 3
"""Nodes of EventStoreDB."""
POISON = (
    ("openbank.accounts.v1.MoneyDeposited", b"{}"),
    ("openbank.accounts.v1.MoneyDeposited", b"no JSON"),
    ("openbank.persons.v1.PersonAddressUpdated", b"{}"),
)
READY_SECONDS_MAX = 60.0
"""From the last start to an instance that is ready; its stores may have been away, and the machine is busy."""


class Part:
    """A process that can be killed and started; `again` returns before it is ready."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kills = 0

    async def kill(self, random: Random) -> None:
        raise NotImplementedError

    async def again(self, random: Random) -> None:
        raise NotImplementedError


class Instance(Part):
    """Killed while it serves, while it stops, and while it starts."""

    def __init__(self, name: str, process: ServerProcess) -> None:
        super().__init__(name)
        self.process = process

    async def kill(self, random: Random) -> None:
        self.kills += 1
        self.process.lines.append({"level": "info", "message": "killed", "time": time.time()})
        if random.random() < 0.25:
            self.process.tell(signal.SIGTERM)
            await asyncio.sleep(random.uniform(0, 0.3))
        await self.process.kill()

    async def again(self, random: Random) -> None:
        await self.process.launch()
        while random.random() < 0.25:
            await asyncio.sleep(random.uniform(0, 1.5))
            await self.process.kill()
            self.kills += 1
            await self.process.launch()


class Store(Part):
    def __init__(self, name: str, process: Restartable) -> None:
        super().__init__(name)
        self.process = process

    async def kill(self, random: Random) -> None:
        self.kills += 1
        await asyncio.to_thread(self.process.kill)

    async def again(self, random: Random) -> None:
        await asyncio.to_thread(self.process.start)


class Lead(Part):
    """EventStoreDB's, which moves from one node to another. Nothing dies, so there is nothing to start again."""

    def __init__(self, process: EventStoreDBProcess) -> None:
        super().__init__("EventStoreDB's leader")
        self._process = process

    async def kill(self, random: Random) -> None:
        self.kills += 1
        claims_to_lead = random.random() < 0.5
        with suppress(grpc.RpcError):  # It may be down already.
            await asyncio.to_thread(self._process.faults.move_lead, claims_to_lead=claims_to_lead)

    async def again(self, random: Random) -> None:
        pass


class Bank:
    """A bank on one choice of back ends; its files are in `directory`."""

    def __init__(
        self, back_end: str, directory: Path, instances: int = INSTANCES, flags: Sequence[str] = (), seed: int = 0
    ) -> None:
        """`flags` are for each instance. The embedded bank has only one. `seed` is for what EventStoreDB does now and
        then."""
        self._seed = seed
        self._directory = directory
        self._count = 1 if back_end == "embedded" else instances
        self._flags = flags
        self._stores: list[Part] = []
        self._instances: list[Instance] = []
        self._back_end = back_end
        self._event_store: EventStoreDBProcess | None = None
        self._backups = 0
        self.forged: set[bytes] = set()
        """Ids of events that another program has written into the bank's streams."""

    @property
    def parts(self) -> Sequence[Part]:
        return [*self._stores, *self._instances]

    @property
    def instances(self) -> Sequence[ServerProcess]:
        return [instance.process for instance in self._instances]

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses of instances that were ready, dead or alive."""
        return [process.address for process in self.instances if process.address]

    @property
    def embedded_data(self) -> Path | None:
        """The data directory of the embedded bank."""
        return self._directory / "instance-1" if self._back_end == "embedded" else None

    @property
    def event_store_uri(self) -> str:
        return self._event_store.uri if self._event_store else ""

    @property
    def faults(self) -> RemoteFaults | None:
        return self._event_store.faults if self._event_store else None

    async def start(self) -> None:
        stores = BackEnd()
        if self._back_end != "embedded":
            data = self._directory / "eventstoredb.db"
            self._event_store = EventStoreDBProcess(data, nodes=NODES, modes=self._seed)
            await self._add("EventStoreDB", self._event_store)
            self._stores.append(Lead(self._event_store))
            stores = stores._replace(event_store=self._event_store.uri)
        if self._back_end == "servers":
            database = FerretDBProcess(self._directory / "ferretdb")
            await self._add("FerretDB", database)
            stores = stores._replace(views=f"{database.uri}/openbank")
        for number in range(1, self._count + 1):
            data = self._directory / f"instance-{number}"
            process = ServerProcess(data, "--heartbeat-seconds", "1", *self._flags, *stores.flags)
            await process.start()
            self._instances.append(Instance(f"instance {number}", process))

    async def ready(self) -> None:
        for process in self.instances:
            await process.ready(READY_SECONDS_MAX)

    async def stop(self) -> None:
        for process in self.instances:
            await process.kill()
        for store in self._stores:
            if isinstance(store, Store):
                await asyncio.to_thread(store.process.kill)

    async def poison(self, account_id: str, random: Random) -> None:
        """Has another program write an event that does not follow into an account's stream."""
        assert self._event_store
        type_name, data = random.choice(POISON)
        event = NewEvent(type=type_name, data=data, id=UUID(int=random.getrandbits(128)))
        async with asyncio.timeout(READY_SECONDS_MAX):
            while True:
                try:
                    async with connected(self._event_store.uri) as client:
                        await client.append_to_stream(f"account-{account_id}", current_version=EXISTS, events=[event])
                        break
                except EventStoreDBClientException:
                    await asyncio.sleep(0.1)
        self.forged.add(event.id.bytes)

    async def log(self) -> Sequence[RecordedEvent]:
        """All that is stored, past the bank: read by a store of our own."""
        store: EventStore
        if self._event_store:
            store = await EventStoreDBEventStore.open(self._event_store.uri, wait_seconds=10)
        else:
            self._backups += 1
            copy = self._directory / f"backup-{self._backups}"
            copy.mkdir()
            await asyncio.to_thread(backup, self._directory / "instance-1", copy / FILE)
            store = SqliteEventStore(copy)
        try:
            events: list[RecordedEvent] = []
            page = await store.read_log(BEGINNING)
            while page.events:
                events += page.events
                page = await store.read_log(page.through)
            return events
        finally:
            await store.close()

    def look_for_bugs(self) -> None:
        """Raises Broken for a line in a log, or an end, that no outage explains."""
        for instance in self._instances:
            process = instance.process
            explained = {"aggregate quarantined"} if self.forged else set()
            errors = [
                line
                for line in process.lines
                if line["level"] in ("error", "critical") and line["message"] not in explained
            ]
            if errors or process.other_output:
                raise Broken(f"{instance.name} said: {errors[:3]} {process.other_output[:20]}")
            # There is one for every call.
            process.lines[:] = [line for line in process.lines if line["message"] != "call" or "cause" in line]

    def keep_logs(self) -> None:
        """Beside the bank's files, for people."""
        for instance in self._instances:
            lines = [json.dumps(line) for line in instance.process.lines] + instance.process.other_output
            (self._directory / f"{instance.name}.log").write_text("\n".join(lines))

    async def _add(self, name: str, process: Restartable) -> None:
        await asyncio.to_thread(process.start)
        self._stores.append(Store(name, process))

"""Three nodes with one log, of which one leads.

async with cluster() as nodes:
    nodes.cut_off(nodes.leader)     # the others have not noticed yet
    nodes.elect(nodes.others[0])    # they have
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.stand_ins.eventstoredb.faults import Faults
from tests.stand_ins.eventstoredb.log import Log
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.eventstoredb.store import SQLiteStore

NODES = 3
ELECTION_SECONDS = 1.3


class Cluster:
    def __init__(self, nodes: list[EventStoreDB], log: Log) -> None:
        self.nodes = nodes
        self.log = log
        self._moving = False

    @property
    def uri(self) -> str:
        return f"esdb://{','.join(node.address for node in self.nodes)}?Tls=false"

    @property
    def leader(self) -> EventStoreDB:
        return next(node for node in self.nodes if node.node.leads)

    @property
    def others(self) -> list[EventStoreDB]:
        """Those that follow."""
        return [node for node in self.nodes if node.node.state == "follower"]

    def cut_off(self, node: EventStoreDB, *, claims_to_lead: bool = False, loses_uncommitted: bool = False) -> None:
        """It keeps its connections and its subscriptions, and is silent on them. What it has written and not committed
        the others may have, or not."""
        node.node.state, node.node.leader, node.node.claims_to_lead = "cut off", None, claims_to_lead
        node.freeze()
        if loses_uncommitted:
            self.log.drop_uncommitted()
        for other in self.others:
            other.node.leader = None

    def elect(self, leader: EventStoreDB) -> None:
        """One that is not cut off. The one that led and is not cut off either follows from now on."""
        for node in self.nodes:
            if node.node.state != "cut off":
                node.node.state = "leader" if node is leader else "follower"
                node.node.leader = leader.address

    async def rejoin(self, node: EventStoreDB) -> None:
        """It comes back as a real node does: by a restart, which ends its connections."""
        node.node.state, node.node.leader = "follower", self.leader.address
        await node.restart(self.log)

    async def move_lead(self, claims_to_lead: bool) -> None:
        """The leader is cut off, another is elected as fast as real nodes do it, and the first comes back. Does nothing
        while the lead moves already."""
        if self._moving:
            return
        self._moving = True
        old = self.leader
        self.cut_off(old, claims_to_lead=claims_to_lead, loses_uncommitted=old.modes.loses_uncommitted())
        await asyncio.sleep(ELECTION_SECONDS)
        self.elect(self.others[0])
        await asyncio.sleep(ELECTION_SECONDS)
        await self.rejoin(old)
        self._moving = False


@contextlib.asynccontextmanager
async def cluster(data: Path | None = None, listen: Sequence[str] = ("127.0.0.1:0",) * NODES) -> AsyncIterator[Cluster]:
    """A node for each address; the first one leads."""
    store = SQLiteStore(data) if data else None
    log = Log(store)
    async with contextlib.AsyncExitStack() as running:
        if store:
            running.callback(store.close)
        # They strike at whichever leads.
        faults = Faults()
        nodes = [EventStoreDB(log=log, faults=faults) for _ in listen]
        started = Cluster(nodes, log)
        for node, address in zip(nodes, listen, strict=True):
            node.move_lead = started.move_lead
            await node.start(address)
            running.push_async_callback(node.stop)
        if len(nodes) > 1:
            for node in nodes:
                node.node.peers = [peer.node for peer in nodes]
        started.elect(nodes[0])
        yield started

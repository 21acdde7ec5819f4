"""Three nodes with one log, of which one leads.

async with cluster() as nodes:
    nodes.cut_off(nodes.leader)     # the others have not noticed yet
    nodes.elect(nodes.others[0])    # they have
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.stand_ins.eventstoredb.log import Log
from tests.stand_ins.eventstoredb.server import EventStoreDB

NODES = 3


class Cluster:
    def __init__(self, nodes: list[EventStoreDB], log: Log) -> None:
        self.nodes = nodes
        self.log = log

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

    def cut_off(self, node: EventStoreDB, *, claims_to_lead: bool = False) -> None:
        """It keeps its connections and its subscriptions, and is silent on them."""
        node.node.state, node.node.leader, node.node.claims_to_lead = "cut off", None, claims_to_lead
        node.freeze()
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


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    log = Log()
    async with contextlib.AsyncExitStack() as running:
        nodes = [EventStoreDB(log=log) for _ in range(NODES)]
        for node in nodes:
            await node.start()
            running.push_async_callback(node.stop)
        for node in nodes:
            node.node.peers = [peer.node for peer in nodes]
        started = Cluster(nodes, log)
        started.elect(nodes[0])
        yield started

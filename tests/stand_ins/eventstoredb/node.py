"""A node's place in its cluster, as the node itself knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["leader", "follower", "cut off"]


@dataclass(slots=True)
class Node:
    """Alone it leads. One that is cut off may have led: it takes no appends, and knows no leader."""

    address: str = ""
    state: State = "leader"
    leader: str | None = None
    """The address of the node that leads, where this one knows."""
    peers: list[Node] = field(default_factory=list)
    """All nodes of the cluster, this one among them."""
    claims_to_lead: bool = False
    """Whether gossip of one that is cut off still names it as the leader, though not alive."""

    @property
    def leads(self) -> bool:
        return self.state == "leader"

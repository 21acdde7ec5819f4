"""The server: its methods, its address, and the method by which tests set faults in another process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from esdbclient.protos.Grpc import gossip_pb2, shared_pb2, streams_pb2

from tests.stand_ins.eventstoredb.appends import Writer, Writes
from tests.stand_ins.eventstoredb.fate import Cut, Silence, abort_cut, never, under_faults
from tests.stand_ins.eventstoredb.faults import Faults, fault_from
from tests.stand_ins.eventstoredb.log import Copy, Log, Store
from tests.stand_ins.eventstoredb.messages import Context, only, structured
from tests.stand_ins.eventstoredb.modes import Modes
from tests.stand_ins.eventstoredb.node import Node
from tests.stand_ins.eventstoredb.reads import Reads
from tests.stand_ins.eventstoredb.store import SQLiteStore
from tests.stand_ins.eventstoredb.subscriptions import Subscriptions

CONTROL_SERVICE = "openbank.standin.Control"
CONTROL = f"/{CONTROL_SERVICE}/Set"
MAX_MESSAGE_BYTES = 64 << 20
INSTANCE_ID = "e5db0000-0000-4000-8000-000000000001"


class EventStoreDB:
    """Everything lives on the event loop that starts it, so no two writers are ever at work at once."""

    def __init__(self, data: Path | None = None, log: Log | None = None, faults: Faults | None = None) -> None:
        """`log` and `faults` are those of a cluster, where it is one of its nodes."""
        self._store: Store | None = SQLiteStore(data) if data else None
        self.faults = faults or Faults()
        self.modes = Modes()
        self.node = Node()
        self.move_lead: Callable[[bool], Awaitable[None]] | None = None
        """Moves the lead of the cluster whose node it is."""
        self._moving: asyncio.Task[None] | None = None
        self._host = "127.0.0.1"
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self._begin(log or Log(self._store))

    def _begin(self, log: Log) -> None:
        self.log = log
        self.subscriptions = Subscriptions(log, self.modes)
        self._writer = Writer(log, self.faults, self.modes, self.node)
        self._reads = Reads(log, self.subscriptions, self.faults, self.modes, self.node)

    @property
    def address(self) -> str:
        return f"{self._host}:{self._port}"

    @property
    def uri(self) -> str:
        return f"esdb://{self.address}?Tls=false"

    async def start(self, listen: str = "127.0.0.1:0") -> None:
        self._host, _, port = listen.rpartition(":")
        if self._host not in ("127.0.0.1", "localhost"):
            raise ValueError(f"a stand-in listens on loopback only, not on {listen}")
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            # A client that pings every 10 s on a quiet connection is no abuser.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(self._handlers())
        self._port = self._server.add_insecure_port(f"{self._host}:{port}")
        self.node.address = self.address
        await self._server.start()

    async def stop(self) -> None:
        """At once: calls in flight see UNAVAILABLE or a cancelled call, as when the real server goes down."""
        if self._server:
            await self._server.stop(None)
        if self._store:
            self._store.close()

    async def restart(self, log: Log | None = None) -> None:
        """The same address; the same log, or another: `Log()` is an empty directory, `Log(Copy(...))` a backup."""
        if self._server:
            await self._server.stop(None)
        if log is None:
            self.log.remembered.forget()
            self.log.commit(self.log.head)
        self._begin(log or self.log)
        await self.start(self.address)

    def freeze(self) -> None:
        """Cut off from its cluster: readers get what it has, and nothing comes any more."""
        frozen = Log(Copy(self.log))
        frozen.committed = self.log.committed
        self.subscriptions.freeze(frozen)
        self.log = self._writer.log = self._reads.log = frozen

    async def wait(self) -> None:
        if self._server:
            await self._server.wait_for_termination()

    def forget(self) -> None:
        """What a restart does to ANY and EXISTS."""
        self.log.remembered.forget()

    def control(self, message: dict[str, Any]) -> dict[str, Any]:
        """One step of control, as another process sends it: {"add": {"kind": ...}}, {"clear": true}, ..."""
        if "add" in message:
            self.faults.add(**fault_from(message["add"]))
        if message.get("clear"):
            self.faults.clear()
        if "move_lead" in message and self.move_lead and (self._moving is None or self._moving.done()):
            self._moving = asyncio.ensure_future(self.move_lead(message["move_lead"]))
        if message.get("forget"):
            self.forget()
        behind = self.subscriptions.send_behind(**message["behind"]) if "behind" in message else 0
        return {"faults": self.faults.described(), "behind": behind, "events": len(self.log.records)}

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        writes, reads = Writes(self._writer), self._reads
        pb = streams_pb2
        streams: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "BatchAppend": grpc.stream_stream_rpc_method_handler(
                writes.batch_append, pb.BatchAppendReq.FromString, pb.BatchAppendResp.SerializeToString
            ),
            "Append": grpc.stream_unary_rpc_method_handler(
                writes.append, pb.AppendReq.FromString, pb.AppendResp.SerializeToString
            ),
            "Delete": grpc.stream_unary_rpc_method_handler(
                writes.delete, pb.DeleteReq.FromString, pb.DeleteResp.SerializeToString
            ),
            "Tombstone": grpc.stream_unary_rpc_method_handler(
                writes.tombstone, pb.TombstoneReq.FromString, pb.TombstoneResp.SerializeToString
            ),
            "Read": grpc.stream_stream_rpc_method_handler(
                reads.read, pb.ReadReq.FromString, pb.ReadResp.SerializeToString
            ),
        }
        gossip = {
            "Read": grpc.stream_unary_rpc_method_handler(
                self._gossip, shared_pb2.Empty.FromString, gossip_pb2.ClusterInfo.SerializeToString
            )
        }
        control: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Set": grpc.unary_unary_rpc_method_handler(self._control)
        }
        return [
            grpc.method_handlers_generic_handler("event_store.client.streams.Streams", streams),
            grpc.method_handlers_generic_handler("event_store.client.gossip.Gossip", gossip),
            grpc.method_handlers_generic_handler(CONTROL_SERVICE, control),
        ]

    async def _gossip(self, requests: AsyncIterator[shared_pb2.Empty], context: Context) -> gossip_pb2.ClusterInfo:
        await only(requests)
        try:
            await under_faults(self.faults, "gossip", "", lambda: None)
        except Silence:
            await never()
        except Cut as cut:
            await abort_cut(context, cut)
        answer = gossip_pb2.ClusterInfo()
        for number, peer in enumerate(self.node.peers or [self.node], 1):
            member = answer.members.add(state=self._state_of(peer), is_alive=self._is_alive(peer))
            member.time_stamp = time.time_ns() // 100
            member.instance_id.structured.CopyFrom(structured(f"{INSTANCE_ID[:-1]}{number}"))
            member.http_end_point.address, _, port = peer.address.rpartition(":")
            member.http_end_point.port = int(port)
        return answer

    def _state_of(self, peer: Node) -> gossip_pb2.MemberInfo.VNodeState.ValueType:
        if self.node.state == "cut off":
            claims = peer is self.node and self.node.claims_to_lead
            return gossip_pb2.MemberInfo.Leader if claims else gossip_pb2.MemberInfo.Unknown
        return gossip_pb2.MemberInfo.Leader if peer.address == self._leader() else gossip_pb2.MemberInfo.Follower

    def _is_alive(self, peer: Node) -> bool:
        if self.node.state == "cut off":
            return peer is self.node and not self.node.claims_to_lead
        return peer.state != "cut off"

    def _leader(self) -> str | None:
        return self.node.address if self.node.leads else self.node.leader

    async def _control(self, request: bytes, context: Context) -> bytes:
        return json.dumps(self.control(json.loads(request))).encode()

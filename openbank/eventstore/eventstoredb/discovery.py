"""Finds the node of EventStoreDB that leads: asks all known nodes, and verifies the one that they name.

The word of one seed is not enough. A node that is cut off from its cluster answers, and names no leader or still
itself. So the named node is asked for a read that only a leader answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import grpc
from esdbclient import AsyncEventStoreDBClient
from esdbclient.common import handle_rpc_error
from esdbclient.connection import AsyncESDBConnection
from esdbclient.connection_spec import URI_SCHEME_ESDB
from esdbclient.exceptions import CancelledByClient, EventStoreDBClientException, NodeIsNotLeader, NotFound
from esdbclient.protos.Grpc import gossip_pb2, shared_pb2

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.eventstoredb.refusals import AccessRefused, access_refused

NODE_SECONDS = 5.0
"""How long one node may take to accept a connection and answer: some round trips, of a second each at worst."""
PROBED_STREAM = "openbank-probe"
"""The stream need not exist."""

_log = logging.getLogger(__name__)


class Discovery:
    def __init__(self, client: AsyncEventStoreDBClient) -> None:
        spec = client.connection_spec
        self._client = client
        self._seeds = list(spec.targets)
        self._by_name = spec.scheme != URI_SCHEME_ESDB
        """Whether a seed is a name that stands for several nodes."""
        self._is_one = not self._by_name and len(self._seeds) == 1
        self._known: list[str] = []
        """Nodes that other nodes have named."""
        self._errors: dict[str, str] = {}
        self._refused: AccessRefused | None = None

    async def leader(self, hint: str | None = None) -> AsyncESDBConnection:
        """A connection to the node that leads; `hint` is where it may be. Raises StoreUnavailable with the answer of
        each node, and AccessRefused."""
        # Each attempt begins with another seed.
        self._seeds.append(self._seeds.pop(0))
        self._errors, self._refused = {}, None
        first = [hint] if hint else []
        asking = {
            asyncio.create_task(self._through(node)) for node in dict.fromkeys((*first, *self._known, *self._seeds))
        }
        try:
            while asking:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                found = [connection for task in done if (connection := task.result())]
                if found:
                    await _close(found[1:])
                    return found[0]
        finally:
            for task in asking:
                task.cancel()
            late = await asyncio.gather(*asking, return_exceptions=True)
            await _close(one for one in late if isinstance(one, AsyncESDBConnection))
        if self._refused is not None:
            raise self._refused
        raise StoreUnavailable("; ".join(f"{node}: {error}" for node, error in sorted(self._errors.items())))

    async def _through(self, node: str) -> AsyncESDBConnection | None:
        """The leader according to one node: itself, or another."""
        asked: set[str] = set()
        try:
            target: str | None = node if self._is_one else await self._named_by(node)
            while target and target not in asked:
                asked.add(target)
                connection, target = await self._lead_of(target)
                if connection:
                    return connection
        except EventStoreDBClientException as error:
            has_user = bool(self._client.connection_spec.username)
            self._refused = self._refused or access_refused(error, has_user=has_user)
            self._errors[node] = short(error)
        return None

    async def _named_by(self, node: str) -> str:
        """The address of the leader in a node's gossip. A single node names itself."""
        options = (("grpc.lb_policy_name", "round_robin"),) if self._by_name and node in self._seeds else ()
        connection = self._client._construct_esdb_connection(node, options)
        gossip = connection.gossip
        try:
            answer: gossip_pb2.ClusterInfo = await gossip._stub.Read(
                shared_pb2.Empty(),
                timeout=NODE_SECONDS,
                metadata=gossip._metadata(self._client._call_metadata),
                credentials=self._client._call_credentials,
            )
        except grpc.RpcError as error:
            raise handle_rpc_error(error) from None
        finally:
            await _close([connection])
        if len(answer.members) <= 1:
            return node  # It may advertise an address that only its neighbours can reach.
        members = {f"{one.http_end_point.address}:{one.http_end_point.port}": one for one in answer.members}
        self._known = [address for address in members if address not in self._seeds]
        for address, member in members.items():
            if member.is_alive and member.state == gossip_pb2.MemberInfo.Leader:
                return address
        raise NoLeaderKnown("it knows no leader")

    async def _lead_of(self, node: str) -> tuple[AsyncESDBConnection | None, str | None]:
        """A connection to a node that leads, or the address of the one that it names."""
        connection = self._client._construct_esdb_connection(node)
        try:
            await probe(self._client, connection)
        except NodeIsNotLeader as error:
            await _close([connection])
            self._errors[node] = "it does not lead"
            if error.leader_grpc_target and error.leader_grpc_target not in (*self._known, *self._seeds):
                self._known.append(error.leader_grpc_target)
            return None, error.leader_grpc_target
        except BaseException:
            await _close([connection])
            raise
        return connection, None


class NoLeaderKnown(EventStoreDBClientException):
    """A node's gossip names no node that is alive."""


async def probe(client: AsyncEventStoreDBClient, connection: AsyncESDBConnection) -> None:
    """Returns once the node has answered what only a leader does. Raises esdbclient's errors."""
    response = await connection.streams.read(
        stream_name=PROBED_STREAM,
        limit=1,
        timeout=NODE_SECONDS,
        metadata=client._call_metadata,
        credentials=client._call_credentials,
    )
    try:
        async for _ in response:
            pass
    except NotFound:
        return
    if await response.aio_call.code() is not grpc.StatusCode.OK:
        raise CancelledByClient


def short(error: Exception) -> str:
    """The server's message from a call's error. The text of the error also has lines that gRPC adds."""
    cause = error.args[0] if error.args else error
    details = cause.details() if isinstance(cause, grpc.aio.AioRpcError) else str(cause)
    return str(details) if isinstance(error, NoLeaderKnown) else f"{type(error).__name__}: {details}"


async def _close(connections: Iterable[AsyncESDBConnection]) -> None:
    for connection in connections:
        await connection._grpc_streamers.close()
        await connection._grpc_channel.close()

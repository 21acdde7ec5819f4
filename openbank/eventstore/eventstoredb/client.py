"""esdbclient's client for an address, with the options that the bank needs."""

from __future__ import annotations

from esdbclient import AsyncEventStoreDBClient
from esdbclient.connection_spec import NODE_PREFERENCE_LEADER

from openbank import address
from openbank.eventstore.errors import StoreRefused
from openbank.eventstore.eventstoredb.refusals import bad_address

CONNECT_SECONDS = 5.0
"""How long a long-lived call may take to stand. A server that is down refuses within milliseconds."""
KEEPALIVE_MS = 10_000
"""A machine that vanishes says nothing. After twice this time without an answer the connection counts as broken."""


def make_client(uri: str) -> AsyncEventStoreDBClient:
    """Raises StoreRefused for an invalid address. The message repeats nothing of the address that may be secret."""
    try:
        address.check(uri)
        client = AsyncEventStoreDBClient(uri)
    except Exception as error:
        # The client's own checks are of many kinds, assertions among them.
        reason = str(error) if "Username and password" in str(error) else address.reason(error, uri)
        raise StoreRefused(f"not an address of EventStoreDB: {bad_address(reason)}") from None
    spec = client.connection_spec
    if spec.options.NodePreference != NODE_PREFERENCE_LEADER:
        # Acknowledged events must be visible to the next read, and follower nodes lag.
        raise StoreRefused("NodePreference must be leader: the bank reads what it has written")
    client.grpc_options += (
        # gRPC reconnects by itself. By default it would wait up to two minutes after the server is back.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),
        # Otherwise a new channel to the same node would use the old one's connection.
        ("grpc.use_local_subchannel_pool", 1),
        # esdbclient sets the interval under a name that gRPC does not know.
        ("grpc.keepalive_time_ms", spec.options.KeepAliveInterval or KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", spec.options.KeepAliveTimeout or KEEPALIVE_MS),
    )
    return client

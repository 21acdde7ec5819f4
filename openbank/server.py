"""The network side of the process: from listening to the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import grpc

from openbank.access.policy import Policy
from openbank.config import Settings
from openbank.ports import open_ports
from openbank.reloading import Reloaded, Reloader
from openbank.rpc import health, reflection
from openbank.rpc.calls import Calls
from openbank.rpc.handlers import Methods, UnknownMethods
from openbank.rpc.health import COMMANDS, FEEDS, QUERIES, Health
from openbank.rpc.services import DESCRIPTORS
from openbank.tls import ServerTls

SIDES = (COMMANDS, QUERIES, FEEDS)
"""A bank is ready once it serves all of them."""

OTHER_STREAMS_MAX = 1000
"""The most health and reflection streams at one time; one more is RESOURCE_EXHAUSTED."""
SPARE_STREAMS = 10_000
"""Streams that one connection may have beyond all limits: refused ones, and health checks."""

HOLD_SECONDS = 0.2
"""At the end of a stop new calls are held for this long, so that each caller has a call here, and none on its way."""
GOODBYE_SECONDS = 0.05
"""The time that the goodbye (GOAWAY) has to leave before the calls that were held are answered."""
CLOSE_SECONDS_MAX = 1.0
"""How long clients may take to close their connections after it."""

HANDSHAKE_MILLISECONDS_MAX = 20_000
"""How long a new connection may take for its TLS handshake and its first HTTP/2 frame; it is closed then."""

PING_MILLISECONDS_MIN = 10_000
"""The shortest interval at which clients may ping, also on an idle connection. A client that pings more often is
disconnected."""


class Server:
    """One grpc.aio server. `start` listens, `stop` drains."""

    def __init__(
        self,
        settings: Settings,
        health_: Health,
        calls: Calls,
        tls: Reloaded[ServerTls] | None = None,
        access: Reloaded[Policy] | None = None,
    ) -> None:
        self._settings = settings
        self.tls = tls
        """The certificate that new connections get, and how many changes of it could not be used; None without TLS."""
        self.reloader = Reloader(*(source for source in (tls, access) if source is not None))
        self._health = health_
        self._calls = calls
        self.address = settings.listen
        self.metrics_address = ""
        """Where metrics are served, HOST:PORT; empty where they are not."""
        self._server = grpc.aio.server(
            # No maximum_concurrent_rpcs: it refuses without a reason. Unary calls, watches and other streams have
            # limits of their own, so that none keeps the others out.
            options=_options(settings)
        )
        self._streams = Calls(OTHER_STREAMS_MAX)
        self._others = (
            health.handlers(health_, self._streams),
            *reflection.handlers([*DESCRIPTORS, health.SERVICE], self._streams),
            UnknownMethods(calls.statistics),
        )

    def add(self, methods: Methods) -> None:
        self._server.add_generic_rpc_handlers((methods,))

    async def start(self) -> None:
        """Listens; `address` is then where, with the network port that was taken. Raises CannotListen."""
        # Each call looks for its handler in the order of these: the bank's own methods come first.
        self._server.add_generic_rpc_handlers(self._others)
        self.address = open_ports(self._server, self._settings, self.tls)
        await self._server.start()

    async def ready(self) -> None:
        """Returns once commands, queries and feeds are served."""
        await self._health.serving(*SIDES)

    @property
    def not_serving(self) -> Sequence[str]:
        """Which of these are not."""
        return [side for side in SIDES if self._health.status(side) != health.SERVING]

    async def stop(self, end_watches: Callable[[], Awaitable[None]]) -> None:
        """Ends all calls within `drain_seconds`, each with its answer or with SERVER_DRAINING, then the connections.

        Until the last moment the server listens, so that new calls, also on new connections, learn the reason. Watches
        go first, each with its last token: at the end of the drain there would only be a broken connection.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.drain_seconds
        self._health.drain()
        self._calls.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await end_watches()
        try:
            async with asyncio.timeout_at(deadline):
                await self._calls.finished()
        except TimeoutError:
            self._calls.cut()
        await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Closes all connections such that no call is on its way to us meanwhile: gRPC would cancel it."""
        self._calls.hold()
        self._streams.drain()
        self._streams.hold()
        await asyncio.sleep(HOLD_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._server.stop(CLOSE_SECONDS_MAX))
            await asyncio.sleep(GOODBYE_SECONDS)
            self._streams.cut()
            self._streams.release()
            self._calls.release()


def _options(settings: Settings) -> Sequence[tuple[str, int]]:
    return [
        # A second server on the port is an error, not a silent sharing of its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        # No compressed requests (identity only): a thousand times the limit above would be unpacked before it counts.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_concurrent_streams", _streams_max(settings)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MILLISECONDS_MAX),
        # A client that vanished is found within 80 s, and its watches are freed.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_MILLISECONDS_MIN),
        ("grpc.http2.max_ping_strikes", 2),
    ]


def _streams_max(settings: Settings) -> int:
    """The most streams of one connection. It is more than all limits together, so that those answer first: beyond this
    limit calls wait silently in the client."""
    return 3 * settings.concurrent_calls_max + settings.watches_max + OTHER_STREAMS_MAX + SPARE_STREAMS

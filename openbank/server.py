"""The network side of the process: from listening to the last answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import grpc

from openbank.config import Settings
from openbank.rpc import health, reflection
from openbank.rpc.guards import Calls
from openbank.rpc.health import Health

EVERYTHING = ""
COMMANDS = "openbank.commands"
QUERIES = "openbank.queries"
FEEDS = "openbank.feeds"
"""What health tells of beside each service: the whole, and its three sides."""

OTHER_CALLS_MAX = 1000
"""Room for health and reflection streams, which nothing else counts."""


PING_MILLISECONDS_MIN = 10_000
"""Clients may ping so often, also on an idle connection; one that does so more often is disconnected."""


class CannotListen(Exception):
    """The address is busy or not ours to take; the message says which and why."""


class Server:
    """One grpc.aio server. `start` listens, `stop` drains."""

    def __init__(self, settings: Settings, services: Sequence[str], health_: Health, calls: Calls) -> None:
        self._settings = settings
        self._health = health_
        self._calls = calls
        self.address = settings.listen
        self._server = grpc.aio.server(
            options=_options(settings),
            # The backstop. The wrapper of unary calls and the feed count their own, with better answers, so that
            # neither many watches keep calls out nor many calls keep watches out.
            maximum_concurrent_rpcs=settings.concurrent_calls_max + settings.watches_max + OTHER_CALLS_MAX,
        )
        self._others = (health.handlers(health_), *reflection.handlers([*services, health.SERVICE]))

    def add(self, handlers: grpc.GenericRpcHandler) -> None:
        self._server.add_generic_rpc_handlers((handlers,))

    async def start(self) -> None:
        """Listens; `address` is then where, with the port that was taken. Raises CannotListen."""
        # Each call looks for its handler in the order of these: the bank's own come first.
        self._server.add_generic_rpc_handlers(self._others)
        host, _, port = self._settings.listen.rpartition(":")
        _try_address(host.strip("[]"), int(port), self._settings.listen)
        try:
            taken = self._server.add_insecure_port(self._settings.listen)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on {self._settings.listen}") from error
        self.address = f"{host}:{taken}"
        await self._server.start()

    async def stop(self, end_watches: Callable[[], Awaitable[None]]) -> None:
        """Lets watches and calls end, but no longer than the drain takes; from the first moment, health tells.

        Watches go first, each with its last token: at the end of the drain there would only be a broken connection.
        """
        self._health.drain()
        seconds = self._settings.drain_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await end_watches()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.stop(seconds))
                # What has been received and not yet come to its handler.
                await asyncio.sleep(0.05)
                await self._calls.finished()
                # What is left are health and reflection streams, which nobody waits for.
                await self._server.stop(None)
        await self._server.stop(None)


def _options(settings: Settings) -> Sequence[tuple[str, int]]:
    return [
        # A second server on the port is an error, not a silent sharing of its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        # No compressed requests (identity only): a thousand times the limit above would be unpacked before it counts.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_concurrent_streams", settings.concurrent_calls_max + settings.watches_max + OTHER_CALLS_MAX),
        # A client that has gone without a word is found within 80 s, and its watches are freed.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_MILLISECONDS_MIN),
        ("grpc.http2.max_ping_strikes", 2),
    ]


def _try_address(host: str, port: int, listen: str) -> None:
    """Binds and lets go again: the system says why it cannot be done, which grpc does not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {listen}: {error.strerror}") from error

"""Serves the page and the bridge until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from importlib.resources import files
from pathlib import PurePath

import grpc
from aiohttp import web

from openbank.web.bridge import Bridge
from openbank.web.framing import MESSAGE_BYTES_MAX
from openbank.web.origins import Handler, Origins

FRAME_BYTES = 5
STOP_SECONDS = 2.0
"""How long calls may take to end at a stop."""
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
)
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@asynccontextmanager
async def serving(
    channel: grpc.aio.Channel, host: str, port: int, allowed: Sequence[str], *, needs_token: bool
) -> AsyncIterator[str]:
    """Listens within the block, at HOST:PORT. Raises OSError where that is taken."""
    bridge = Bridge(channel, needs_token=needs_token)
    app = web.Application(client_max_size=MESSAGE_BYTES_MAX + FRAME_BYTES)
    # What is no name of a method would be an error of gRPC's own.
    app.router.add_post("/{service:[A-Za-z0-9_.]+}/{method:[A-Za-z0-9_]+}", bridge.call)
    for name, content in _page():
        app.router.add_get("/" if name == "index.html" else f"/{name}", content)
    with closing(_listening(host, port)) as sock:
        taken = sock.getsockname()[1]
        address = f"{host}:{taken}"
        origins = Origins([address, f"localhost:{taken}"], allowed)
        app.middlewares.append(origins.guard)
        app.on_response_prepare.append(origins.prepare)
        app.on_shutdown.append(bridge.stop)
        # A call ends when its browser leaves.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=STOP_SECONDS, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            yield address
        finally:
            await runner.cleanup()


def _listening(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _page() -> Iterator[tuple[str, Handler]]:
    """The files of the page, which are in the package: no request names a file."""
    for file in files("openbank.web").joinpath("page").iterdir():
        kind = _TYPES.get(PurePath(file.name).suffix)
        if kind is not None:
            yield file.name, _content(file.read_bytes(), kind)


def _content(body: bytes, kind: str) -> Handler:
    async def get(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"})

    return get

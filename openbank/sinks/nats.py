"""Sinks behind nats://: a message an event, published to JetStream and acknowledged by it.

The subject is the event's type behind what the URL's path says, `openbank` by default: openbank.money.deposited.v1.
The event's id goes as Nats-Msg-Id, by which JetStream drops what it had within its window of duplicates.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from openbank import address
from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.address import SinkAddress
from openbank.sinks.encoding import CONTENT_TYPE, encode
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult, cannot_connect

SUBJECT = "openbank"
MESSAGE_ID = "Nats-Msg-Id"
MESSAGES_MAX = 64
PORT = 4222
CLOSE_SECONDS_MAX = 1.0

_MESSAGE_TOO_LARGE = 10054
"""JetStream's own code for a message over the limit of the stream."""


class NatsTransport:
    events_max = 1
    messages_max = MESSAGES_MAX

    def __init__(self, sink: SinkAddress, timeout_seconds: float) -> None:
        self._server = _Server.of(sink.url)
        self._subject = urlsplit(sink.url).path.strip("/") or SUBJECT
        self._mode = sink.mode
        self._timeout_seconds = timeout_seconds
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        (event,) = events
        message = encode(self._mode, events)
        headers = {MESSAGE_ID: event.id, **message.headers}
        headers["Content-Type"] = headers.pop(CONTENT_TYPE)
        subject = f"{self._subject}.{event.type}"
        connection = None
        try:
            connection = await self._connected()
            await connection.publish(subject, message.body, headers, self._timeout_seconds)
        except nats.errors.MaxPayloadError:
            return Rejected("larger than NATS takes")
        except nats.js.errors.NoStreamResponseError:
            return Later(f"no stream of JetStream takes the subject {subject}")
        except nats.js.errors.APIError as error:
            reason = f"JetStream: {error.description} ({error.err_code})"
            return Rejected(reason) if error.err_code == _MESSAGE_TOO_LARGE else Later(reason)
        except TimeoutError:
            # The connection may be half open, which looks like a slow server: the next try uses a new one.
            self._drop(connection)
            what = "cannot connect" if connection is None else "no answer"
            return Later(f"{what} within {self._timeout_seconds:g} s", reached=connection is not None)
        except OSError as error:
            return cannot_connect(error, self._server.host)
        except nats.errors.Error as error:
            # Without the error's own text, which may hold the URL.
            refused = "authorization" in str(error).lower()
            return Later("not authorized" if refused else f"the connection failed: {type(error).__name__}")
        return Accepted()

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self._drop(self._connection)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _drop(self, connection: _Connection | None) -> None:
        if connection is not None and not connection.lost:
            connection.lost = True
            closing = asyncio.create_task(connection.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _connected(self) -> _Connection:
        """One connection. All callers wait for the same attempt to open it."""
        if self._connection is None or self._connection.lost or self._connection.closed:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(_connect(self._server, self._timeout_seconds))
            self._connection = await asyncio.shield(self._connecting)
        return self._connection


class _Server(NamedTuple):
    """The credentials are passed apart from the URL: the client would send them as escaped in it."""

    url: str
    host: str
    user: str | None
    password: str | None
    token: str | None

    @classmethod
    def of(cls, url: str) -> _Server:
        """From a URL that `address.check` and `address.host` have passed."""
        parts = urlsplit(url)
        host = address.host(url)
        at = f"nats://{f'[{host}]' if ':' in host else host}:{parts.port or PORT}"
        user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
        return cls(at, host, None, None, user) if password is None else cls(at, host, user, password, None)


class _Connection:
    """Ends once it is lost: waits for an answer on it fail, and the sender has its own pauses."""

    def __init__(self, client: Client, closed: asyncio.Event) -> None:
        self._client = client
        self._jetstream: JetStreamContext = client.jetstream()
        self._closed = closed
        self.lost = False
        """Whether no new message may be published on it."""

    @property
    def closed(self) -> bool:
        return self._client.is_closed

    async def publish(self, subject: str, body: bytes, headers: dict[str, str], timeout_seconds: float) -> None:
        publishing = asyncio.ensure_future(
            self._jetstream.publish(subject, body, timeout=timeout_seconds, headers=headers)
        )
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({publishing, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise nats.errors.ConnectionClosedError
            publishing.result()
        finally:
            publishing.cancel()
            closing.cancel()

    async def close(self) -> None:
        await _close(self._client)


async def _close(client: Client) -> None:
    """In bounded time: otherwise a server that reads nothing would hold up the close."""
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await client.close()


async def _connect(server: _Server, timeout_seconds: float) -> _Connection:
    """Raises TimeoutError, OSError, nats.errors.Error: the last cause, not that there is no server left to try."""
    closed = asyncio.Event()
    errors: list[Exception] = []

    async def on_closed() -> None:
        closed.set()

    async def on_error(error: Exception) -> None:
        errors[:] = [error]

    client = Client()
    try:
        async with asyncio.timeout(timeout_seconds):
            await client.connect(
                server.url,
                name="openbank",
                user=server.user,
                password=server.password,
                token=server.token,
                connect_timeout=math.ceil(timeout_seconds),
                # An idle connection that is half open is noticed within twice the timeout.
                ping_interval=timeout_seconds,  # type: ignore[arg-type]
                max_outstanding_pings=1,
                # No pauses of the client's own, and no messages buffered for a reconnect: the sender handles both.
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                closed_cb=on_closed,
                error_cb=on_error,
            )
    except BaseException as error:
        await _close(client)
        if errors and isinstance(error, nats.errors.NoServersError):
            raise errors[0] from error
        raise
    return _Connection(client, closed)

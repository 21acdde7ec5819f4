"""Sinks behind nats://: a message an event, published to JetStream and acknowledged by it.

The subject is the event's type behind what the URL's path says, `openbank` by default: openbank.money.deposited.v1.
The event's id goes as Nats-Msg-Id, by which JetStream drops what it had within its window of duplicates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.address import SinkAddress
from openbank.sinks.encoding import CONTENT_TYPE, encode
from openbank.sinks.transport import Accepted, Answer, Later, Refused, cannot_connect

SUBJECT = "openbank"
MESSAGE_ID = "Nats-Msg-Id"
MESSAGES_MAX = 64

_MESSAGE_TOO_LARGE = 10054
"""JetStream's own code for a message over the limit of the stream."""


class NatsTransport:
    events_max = 1
    messages_max = MESSAGES_MAX

    def __init__(self, address: SinkAddress, timeout_seconds: float) -> None:
        parts = urlsplit(address.url)
        self._server = parts._replace(path="", query="").geturl()
        self._subject = parts.path.strip("/") or SUBJECT
        self._mode = address.mode
        self._timeout_seconds = timeout_seconds
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def send(self, events: Sequence[CloudEvent]) -> Answer:
        (event,) = events
        message = encode(self._mode, events)
        headers = {MESSAGE_ID: event.id, **message.headers}
        headers["Content-Type"] = headers.pop(CONTENT_TYPE)
        try:
            connection = await self._connected()
            await connection.publish(f"{self._subject}.{event.type}", message.body, headers, self._timeout_seconds)
        except nats.errors.MaxPayloadError:
            return Refused("larger than NATS takes")
        except nats.js.errors.NoStreamResponseError:
            return Later(f"no stream of JetStream takes the subject {self._subject}.{event.type}")
        except nats.js.errors.APIError as error:
            reason = f"JetStream: {error.description} ({error.err_code})"
            return Refused(reason) if error.err_code == _MESSAGE_TOO_LARGE else Later(reason)
        except TimeoutError:
            return Later(f"no answer within {self._timeout_seconds:g} s")
        except OSError as error:
            return cannot_connect(error)
        except nats.errors.Error as error:
            # Without the error's own text, in which there may be the URL.
            refused = "authorization" in str(error).lower()
            return Later("not authorized" if refused else f"the connection failed: {type(error).__name__}")
        return Accepted()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> _Connection:
        """One connection, which all who want it wait for together."""
        if self._connection is None or self._connection.lost:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(_connect(self._server, self._timeout_seconds))
            self._connection = await asyncio.shield(self._connecting)
        return self._connection


class _Connection:
    """Over once it is lost: what waits for an answer on it is told so, and the sender has its own pauses."""

    def __init__(self, client: Client, closed: asyncio.Event) -> None:
        self._client = client
        self._jetstream: JetStreamContext = client.jetstream()
        self._closed = closed

    @property
    def lost(self) -> bool:
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
        await self._client.close()


async def _connect(server: str, timeout_seconds: float) -> _Connection:
    """Raises OSError, nats.errors.Error: what was found last, rather than that no server is left to try."""
    closed = asyncio.Event()
    errors: list[Exception] = []

    async def on_closed() -> None:
        closed.set()

    async def on_error(error: Exception) -> None:
        errors[:] = [error]

    client = Client()
    try:
        await client.connect(
            server,
            name="openbank",
            connect_timeout=max(1, round(timeout_seconds)),
            # None of its own pauses, and no messages kept for when it is connected again: the sender sees to both.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            closed_cb=on_closed,
            error_cb=on_error,
        )
    except BaseException as error:
        await client.close()
        if errors and isinstance(error, nats.errors.NoServersError):
            raise errors[0] from error
        raise
    return _Connection(client, closed)

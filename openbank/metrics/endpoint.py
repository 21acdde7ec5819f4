"""The HTTP port for operators: /metrics, /livez and /readyz. h11 reads and writes the protocol, asyncio the bytes.

Whatever a client sends or does not send, a connection takes bounded memory and ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple

import h11

from openbank.instruments import Histogram
from openbank.metrics.exposition import expose
from openbank.metrics.loop_lag import measure
from openbank.metrics.scrape import Sources, scrape
from openbank.ports import CannotListen

CONNECTIONS_MAX = 64
"""One more is closed at once."""
HEAD_BYTES_MAX = 1 << 14
REQUEST_SECONDS_MAX = 120.0
"""How long a connection may take to send its next request: longer than the usual interval between two scrapes."""
ANSWER_SECONDS_MAX = 10.0
"""How long a client may take to read an answer."""

_log = logging.getLogger(__name__)


class _Answer(NamedTuple):
    status: int
    text: bytes
    content_type: str = "text/plain; charset=utf-8"


class Endpoint:
    def __init__(self) -> None:
        self.address = ""
        """HOST:PORT, with the port that was taken."""
        self._sources: Sources | None = None
        self._ready: Callable[[], bool] = lambda: False
        self._loop_lag = Histogram()
        self._scraping = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()

    def show(self, sources: Sources, ready: Callable[[], bool]) -> None:
        """From now on the bank's parts can be read. `ready` says whether calls are served."""
        self._sources, self._ready = sources, ready

    async def measure(self) -> None:
        await measure(self._loop_lag)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        task = asyncio.current_task()
        if len(self._connections) >= CONNECTIONS_MAX or task is None:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            # asyncio logs the cancellation of a connection's task, with which `close` ends it, as an error.
            with suppress(OSError, TimeoutError, h11.RemoteProtocolError, asyncio.CancelledError):
                await self._serve(h11.Connection(h11.SERVER, HEAD_BYTES_MAX), reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    request = await _next_request(http, reader)
            except h11.RemoteProtocolError as error:
                if http.our_state is h11.IDLE or http.our_state is h11.SEND_RESPONSE:
                    await _send(http, writer, _Answer(error.error_status_hint, b"this is not a request\n"))
                return
            if request is None:
                return
            await _send(http, writer, await self._answer(request), has_body=request.method != b"HEAD")
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()
            # Many requests may have come at once.
            await asyncio.sleep(0)

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _Answer(405, b"only GET and HEAD\n")
        match request.target.partition(b"?")[0]:
            case b"/livez":
                return _Answer(200, b"ok\n")
            case b"/readyz":
                return _Answer(200, b"ok\n") if self._ready() else _Answer(503, b"calls are not served\n")
            case b"/metrics":
                return await self._metrics(b", ".join(value for name, value in request.headers if name == b"accept"))
        return _Answer(404, b"there are /metrics, /livez and /readyz\n")

    async def _metrics(self, accept: bytes) -> _Answer:
        if self._sources is None:
            return _Answer(503, b"the bank is starting\n")
        # One scrape at a time, so that many cost the stores no more than one.
        async with self._scraping:
            content_type, text = await expose(await scrape(self._sources, self._loop_lag), accept.decode("latin-1"))
        return _Answer(200, text, content_type)


async def _next_request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """None once the client has closed the connection. A body is read, and not kept. Raises h11.RemoteProtocolError."""
    request: h11.Request | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(HEAD_BYTES_MAX))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            return None


async def _send(http: h11.Connection, writer: asyncio.StreamWriter, answer: _Answer, *, has_body: bool = True) -> None:
    headers = [("content-type", answer.content_type), ("content-length", str(len(answer.text)))]
    response = h11.Response(
        status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase.encode()
    )
    body = h11.Data(data=answer.text if has_body else b"")
    writer.write(b"".join([http.send(event) or b"" for event in (response, body, h11.EndOfMessage())]))
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await writer.drain()


@asynccontextmanager
async def listening(listen: str) -> AsyncIterator[Endpoint]:
    """Serves until the block ends. Raises CannotListen."""
    endpoint = Endpoint()
    host, _, port = listen.rpartition(":")
    try:
        server = await asyncio.start_server(endpoint.accept, host.strip("[]"), int(port), limit=HEAD_BYTES_MAX)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CannotListen(f"cannot serve metrics on {listen}: {why}") from error
    endpoint.address = f"{host}:{server.sockets[0].getsockname()[1]}"
    measuring = asyncio.create_task(endpoint.measure())
    _log.info("metrics are served", extra={"values": {"listen": endpoint.address}})
    try:
        yield endpoint
    finally:
        server.close()
        measuring.cancel()
        await endpoint.close()

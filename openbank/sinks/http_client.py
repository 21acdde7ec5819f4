"""POST over HTTP/1.1, on connections that are kept: h11 reads and writes the protocol, asyncio the bytes.

Whatever a receiver sends or does not send, a POST ends within its timeout, in bounded memory.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import h11
from aiohappyeyeballs import start_connection

from openbank import address

IDLE_SECONDS_MAX = 2.0
"""How long an idle connection is kept. Servers close theirs after 5 s and more."""
HEAD_BYTES_MAX = 1 << 15
BODY_BYTES_MAX = 1 << 16
BODY_SECONDS_MAX = 0.5
"""The most bytes read of an answer's body, so that its connection can be used again. The body is not used."""
NEXT_ADDRESS_SECONDS = 0.25
"""The delay after which the host's next address is tried beside the one that does not answer."""
PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """The request may have arrived, but no answer did. The message says why, without anything that the receiver
    sent."""


class NotConnected(Exception):
    """There was no connection in time, so the receiver has seen nothing."""


class HttpAnswer(NamedTuple):
    status: int
    retry_after: tuple[str, ...]
    """Every header of that name."""


class HttpClient:
    def __init__(self, url: str, timeout_seconds: float, headers: Mapping[str, str]) -> None:
        """For one URL that `address.check` and `address.host` have passed."""
        parts = urlsplit(url)
        self.host = address.host(url)
        self._port = parts.port or PORTS[parts.scheme]
        self._target = _ascii(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        self._headers = {"host": _host_header(self.host, parts), **_credentials(parts), **headers}
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout_seconds = timeout_seconds
        self._kept: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Raises NotConnected, OSError if it cannot connect, NoAnswer, and TimeoutError if no answer came in time."""
        lines = {**self._headers, **headers, "content-length": str(len(body))}
        request = h11.Request(
            method="POST", target=self._target, headers=[(name.encode(), line.encode()) for name, line in lines.items()]
        )
        until = asyncio.get_running_loop().time() + self._timeout_seconds
        try:
            connection, answer = await self._ask(request, body, until)
        except TimeoutError:
            # What broke one connection silently may have broken all of them.
            self._drop_kept()
            raise
        if await connection.ended(until):
            self._kept.append(connection)
            connection.close_after(IDLE_SECONDS_MAX)
        return answer

    async def close(self) -> None:
        self._drop_kept()

    async def _ask(self, request: h11.Request, body: bytes, until: float) -> tuple[_Connection, HttpAnswer]:
        kept = self._take()
        if kept is not None:
            try:
                return kept, await kept.ask(request, body, until)
            except NoAnswer:
                # The receiver may have closed the idle connection before the request arrived.
                self._drop_kept()
        new = await self._connect(until)
        return new, await new.ask(request, body, until)

    def _take(self) -> _Connection | None:
        while self._kept:
            connection = self._kept.pop()
            if connection.usable:
                return connection
        return None

    def _drop_kept(self) -> None:
        for connection in self._kept:
            connection.abort()
        self._kept.clear()

    async def _connect(self, until: float) -> _Connection:
        try:
            async with asyncio.timeout_at(until):
                return await self._open()
        except TimeoutError:
            raise NotConnected(f"cannot connect within {self._timeout_seconds:g} s") from None

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM)
        connected = await start_connection(infos, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=loop)
        try:
            name = self.host if self._ssl else None
            _, connection = await loop.create_connection(
                _Connection, sock=connected, ssl=self._ssl, server_hostname=name
            )
        except BaseException:
            connected.close()
            raise
        return connection


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._end: asyncio.Future[None] | None = None
        """Done once the answer is whole, or the connection is gone. None between requests."""
        self._body_bytes = 0
        self._closing: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether it can take a request, as far as is known."""
        return self._transport is not None and not self._transport.is_closing() and self._end is None

    async def ask(self, request: h11.Request, body: bytes, until: float) -> HttpAnswer:
        """Raises NoAnswer, TimeoutError. The connection is closed if it raises, or is cancelled."""
        loop = asyncio.get_running_loop()
        if self._closing is not None:
            self._closing.cancel()
        if self._transport is None:
            raise NoAnswer("the connection was closed without an answer")
        self._answer, self._end, self._body_bytes = loop.create_future(), loop.create_future(), 0
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        self._transport.write(b"".join(self._http.send(part) or b"" for part in parts))
        try:
            async with asyncio.timeout_at(until):
                return await self._answer
        except BaseException:
            self.abort()
            raise

    async def ended(self, until: float) -> bool:
        """Whether the answer is complete and the connection can take another request. Otherwise it is closed."""
        assert self._end is not None
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, loop.time() + BODY_SECONDS_MAX)):
                await self._end
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        # A body where there must be none, as after 204, is not the next answer.
        if done and not self._http.trailing_data[0] and self._transport is not None:
            self._http.start_next_cycle()
            self._end = None
            return True
        self.abort()
        return False

    def close_after(self, seconds: float) -> None:
        self._closing = asyncio.get_running_loop().call_later(seconds, self.abort)

    def abort(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not a subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._end is None:
            self.abort()  # There is no request.
        elif not self._end.done():
            self._http.receive_data(data)
            self._read()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._over("the receiver closed the connection without an answer")

    def _read(self) -> None:
        try:
            while self._understood(self._http.next_event()):
                pass
        except h11.RemoteProtocolError:
            self._over("what the receiver answers is not HTTP")
            self.abort()

    def _understood(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Whether to ask for the next event."""
        match event:
            case h11.InformationalResponse():
                return True
            case h11.Response():
                after = tuple(value.decode("latin-1") for name, value in event.headers if name == b"retry-after")
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(HttpAnswer(event.status_code, after))
                return True
            case h11.Data():
                self._body_bytes += len(event.data)
                if self._body_bytes > BODY_BYTES_MAX:
                    self.abort()
                return self._body_bytes <= BODY_BYTES_MAX
            case h11.EndOfMessage():
                self._over("")
        return False

    def _over(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(why))
        if self._end is not None and not self._end.done():
            self._end.set_result(None)


def _ascii(target: str) -> str:
    """The target as configured, except for characters that no request line can hold: a signed query depends on every
    character."""
    return re.sub(r"[^!-~]+", lambda match: quote(match[0]), target)


def _host_header(host: str, parts: SplitResult) -> str:
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    return name if parts.port in (None, PORTS[parts.scheme]) else f"{name}:{parts.port}"


def _credentials(parts: SplitResult) -> dict[str, str]:
    """In UTF-8, as RFC 7617 has it."""
    if "@" not in parts.netloc:
        return {}
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

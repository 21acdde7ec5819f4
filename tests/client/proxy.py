"""A network that can be bad: a proxy that cuts connections, keeps them and says nothing, or answers for the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS = 1, 4
ACK = END_STREAM = 1
END_HEADERS = 4


def _frame(kind: int, flags: int = 0, stream: bytes = bytes(4), payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream + payload


class Proxy:
    def __init__(self, target: str) -> None:
        self.target = target
        """Where new connections lead."""
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._requests_passing = asyncio.Event()
        self._answers_passing = asyncio.Event()
        self.unmute()
        self._swallowed = asyncio.Event()
        """Set once what comes on the connections of now is to be dropped."""
        self._status = 0
        self.delay_seconds = 0.0
        """How long everything is on its way, in each direction."""
        self.address = ""
        self.answered = 0
        """Calls that the proxy has answered itself."""
        self.connections = 0
        """How many there have been."""
        self.received = 0
        """Bytes from clients."""

    def cut(self, share: float = 1.0) -> int:
        """That share of the connections, in the middle of whatever they are at. Returns how many there were."""
        some = random.sample(list(self._pairs), round(share * len(self._pairs)))
        for pair in some:
            for writer in pair:
                writer.transport.abort()
        return len(some)

    def mute(self, *, answers_only: bool = False) -> None:
        """Connections stay, and nothing comes through, or nothing from the server."""
        self._answers_passing.clear()
        if not answers_only:
            self._requests_passing.clear()

    def unmute(self) -> None:
        self._answers_passing.set()
        self._requests_passing.set()

    def swallow(self) -> None:
        """The connections of now stay and lead nowhere; new ones work. A proxy that was restarted does that."""
        self._swallowed.set()
        self._swallowed = asyncio.Event()

    @property
    def connections_open(self) -> int:
        return len(self._pairs)

    def answer(self, status: int) -> None:
        """From now on every call gets this HTTP status, as from a proxy that does not reach its server."""
        self._status = status
        self.cut()

    def stop_answering(self) -> None:
        self.answer(0)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._status:
            await self._answer_calls(reader, writer)
            return
        host, _, port = self.target.rpartition(":")
        try:
            other_reader, other_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, other_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as ways:
                swallowed = self._swallowed
                ways.create_task(self._pass_on(reader, other_writer, swallowed, from_client=True))
                ways.create_task(self._pass_on(other_reader, writer, swallowed))
        finally:
            self._pairs.discard(pair)

    async def _answer_calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As little of HTTP/2 as it takes: SETTINGS, and a HEADERS frame with nothing but a status for each request."""
        pair = (writer, writer)
        self._pairs.add(pair)
        try:
            await reader.readexactly(len(PREFACE))
            writer.write(_frame(SETTINGS))
            while True:
                head = await reader.readexactly(9)
                kind, flags, stream = head[3], head[4], head[5:]
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind == HEADERS:
                    status = str(self._status).encode()
                    self.answered += 1
                    writer.write(_frame(HEADERS, END_STREAM | END_HEADERS, stream, b"\x08\x03" + status))
                elif kind == SETTINGS and not flags & ACK:
                    writer.write(_frame(SETTINGS, ACK))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._pairs.discard(pair)
            writer.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        swallowed: asyncio.Event,
        from_client: bool = False,
    ) -> None:
        passing = self._requests_passing if from_client else self._answers_passing
        try:
            while data := await reader.read(1 << 16):
                self.received += len(data) * from_client
                if swallowed.is_set():
                    continue
                await passing.wait()
                if self.delay_seconds:
                    asyncio.get_running_loop().call_later(self.delay_seconds, writer.write, data)
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def proxy_of(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    listening = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        proxy.unmute()
        proxy.cut()
